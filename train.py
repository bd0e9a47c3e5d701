"""python train.py --config ct_liver.yaml is short for segcgan fit --config configs/ct_liver.yaml."""

from segcgan.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
