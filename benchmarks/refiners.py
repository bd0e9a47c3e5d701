"""Is a refiner worth its compute? Segmenter, refiners, and the same compute spent otherwise, over several seeds.

    python benchmarks/refiners.py cardiac_mr --seeds 0 1 2          (resumes; add --only-table to print what is there)
    python benchmarks/refiners.py cardiac_mr --refiners             (the segmenter alone)
    python benchmarks/tables.py                                     (all tables again, of the scores that are kept)
    python benchmarks/refiners.py nuclei segmenters/segformer       (a further config changes the first, in every row)

Rows, for every seed:

- segmenter: as the config trains it
- trained longer: a segmenter with the compute of segmenter, folds and dearest refiner, in steps of measured cost
- mean of two: the probabilities of two segmenters, the second that of the next seed (one seed alone: a further one)
- post-processed: largest component and filled holes, each used if validation gains by it: the cheapest alternative
- thresholds, where several people annotated: samples for nothing, the coarse probability cut at even levels
- image-blind template, likewise: the mean training mask at even levels, which no image changes (benchmarks/template.py)
- residual, cGAN, VAE (--refiners): refiners behind the same segmenter, with the gate and without ("no gate")
- cGAN, weight 0: the network and steps of the cGAN without its critic

Validation chooses epochs, gate and post-processing. The test split is scored once per run. Trainings are ordinary
runs below ``--runs``, so a second call continues where the first was stopped. Scores are kept in results/seeds by the
settings that made them (benchmarks/kept.py); a table shows all that are kept.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch
import yaml
from kept import OVERLAYS, base_digest, listed, own_digest  # beside this file
from scored import finished, harvest, refiner_of, segmenter_of
from summary import write_table

from segcgan.batch import Batch
from segcgan.cli import main as segcgan
from segcgan.noise import Noise
from segcgan.parts import build
from segcgan.runs import Run, load
from segcgan.segmenters import segmenter_loss
from segcgan.tasks.settings import joined
from segcgan.tasks.stage import Schedule


def train(runs: Path, configs: list[str], words: list[str]) -> Run:
    """Train one row unless it is trained, and score its test split unless it is scored."""
    layers = [word for config in configs for word in ("--config", f"{config}.yaml")]
    words = [*layers, *words, f"--plan.runs={runs}"]
    base = runs / joined([Path(config) for config in configs])
    if (run := finished(base)) is None:
        if segcgan(["fit", *words]):
            raise SystemExit(f"training in {runs} failed")
        run = finished(base)
    if run is None:
        raise SystemExit(f"{runs} holds no finished run")
    if not (run.folder / "scores_test.json").is_file() and segcgan(["test", *words]):
        raise SystemExit(f"scoring {run.folder} failed")
    return run


def step_costs(runs: dict[str, Run], repeats: int = 7) -> dict[str, float]:
    """Return the cost of a training step of each refiner in steps of the segmenter: medians of interleaved pairs."""
    first = next(iter(runs.values())).folder
    config, chain = yaml.safe_load((first / "config.yaml").read_text()), load(first)
    size, count = config["data"]["sampling"]["patch"], config["data"]["sampling"]["batch_size"]
    classes, channels = len(chain.classes), chain.channels * (2 * chain.sampling.context + 1)
    batch = Batch(
        torch.randn(count, channels, *size), torch.ones(count, 1, *size, dtype=torch.bool), torch.ones(count, 2),
        torch.zeros(count, 2, dtype=torch.int64), torch.arange(count), torch.zeros(count, *size, dtype=torch.int64),
        torch.full((count, classes, *size), 1 / classes),
    )  # fmt: skip
    parts = {"segmenter": chain.segmenter} | {name: load(run.folder).refiner for name, run in runs.items()}
    adversary = None
    if "cGAN" in runs:
        adversary = build(yaml.safe_load((runs["cGAN"].folder / "config.yaml").read_text())["model"]["adversary"])

    def seconds(name: str) -> float:
        part, begin = parts[name].train(), time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=chain.bf16):
            act = partial(segmenter_loss, part) if name == "segmenter" else part.training_loss
            terms, logits = act(batch, Noise(0, 0, batch))
            torch.stack([value.float() for value in terms.values()]).sum().backward()
            if name == "cGAN" and adversary is not None:
                adversary.steps.fill_(10_000)  # past its warm-up
                sum(adversary.generator_terms(logits.detach().requires_grad_(), batch).values()).backward()
                sum(adversary.critic_terms(logits.detach(), batch).values()).backward()
        return time.perf_counter() - begin

    for name in parts:
        seconds(name)
    pairs: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name in runs:
            base = seconds("segmenter")
            pairs[name].append(seconds(name) / base)
    return {name: statistics.median(values) for name, values in pairs.items()}


def long_epochs(run: Run, cost: float) -> int:
    """Return for how many epochs a lone segmenter may be trained at the compute of folds, segmenter and refiner."""
    plan = Schedule(**yaml.safe_load((run.folder / "config.yaml").read_text())["plan"]).stages(refiner=True)
    return round(sum(epochs * (cost if stage == "refiner" else 1) for stage, epochs in plan.items()))


def train_all(
    configs: list[str], refiners: list[str], seed: int, runs: Path, extra: list[str], costs: dict[str, float]
) -> None:
    """Train and score every row of one seed."""
    base, name = [f"--seed_everything={seed}", *extra], joined([Path(config) for config in configs])
    alone = [*base, "--plan.refiner_epochs=0"]
    segmenter = train(segmenter_of(runs, name).parent, configs, alone)
    found: dict[str, Run] = {}
    for each in refiners:
        overlay = OVERLAYS[each]
        place = refiner_of(runs, name, overlay, own_digest(overlay)).parent
        words = [*base, f"--plan.segmenter_from={segmenter.folder}"]
        found[each] = train(place, [*configs, f"refiners/{overlay}"], words)
    if not found:
        return
    if not costs.keys() >= found.keys():
        costs |= step_costs(found)
        print("cost of a step, in steps of the segmenter:", {k: round(v, 2) for k, v in costs.items()}, flush=True)
    epochs = long_epochs(next(iter(found.values())), max(costs[each] for each in refiners))
    train(runs / "longer", configs, [*alone, f"--plan.segmenter_epochs={epochs}"])


def main() -> None:
    """Train what is missing, score it, keep the scores, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+", help="name of a shipped config, e.g. cardiac_mr; others change it")
    parser.add_argument("--refiners", choices=OVERLAYS, nargs="*", default=[*OVERLAYS], help="none: no refiner")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2 if not given; of a table, all that are kept")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--only-table", action="store_true", help="train nothing")
    parser.add_argument("--kept", action="store_true", help="train no seed whose scores are kept in results/seeds")
    chosen, extra = parser.parse_known_args()
    name, base = joined([Path(config) for config in chosen.configs]), base_digest(chosen.configs, extra)
    runs, seeds = chosen.runs / f"{name}_{base}", chosen.seeds or [0, 1, 2]
    notes = runs / "costs.json"
    costs: dict[str, float] = json.loads(notes.read_text()) if notes.is_file() else {}
    there = {(one.settings, one.seed) for one in listed(name)}
    for seed in seeds if not chosen.only_table else []:
        overlays = [OVERLAYS[each] for each in chosen.refiners]
        wanted = [(base, "", ""), *((base, each, own_digest(each)) for each in overlays)]
        if chosen.kept and all((settings, seed) in there for settings in wanted):
            continue
        place = runs / f"seed_{seed}"
        train_all(chosen.configs, chosen.refiners, seed, place, extra, costs)
        notes.write_text(json.dumps(costs))
        if len(seeds) == 1 and chosen.refiners:  # else the segmenter of the next seed is the second of the mean of two
            other = [f"--seed_everything={seed + 1000}", *extra, "--plan.refiner_epochs=0"]
            train(place / "second", chosen.configs, other)
    harvest(name, seeds, runs, base)
    write_table(name, chosen.seeds, costs, base)


if __name__ == "__main__":
    main()
