"""The sidecar ``.aux.xml`` in which GDAL keeps what a TIFF cannot hold: names and transparency of classes."""

from pathlib import Path
from xml.etree import ElementTree as Xml

from segcgan.colours import Rgb


def write_legend(raster: Path, names: list[str], colours: list[Rgb]) -> None:
    """Name the values of the first band, for QGIS and GDAL, and make value 0 transparent there.

    Args:
        raster: complete and closed; what GDAL itself wrote beside it is kept.
        names: of the values 0, 1, …
        colours: of the same.
    """
    path = raster.with_name(f"{raster.name}.aux.xml")
    root = Xml.parse(path).getroot() if path.is_file() else Xml.Element("PAMDataset")
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        band = Xml.SubElement(root, "PAMRasterBand", band="1")
    Xml.SubElement(band, "ColorInterp").text = "Palette"
    table = Xml.SubElement(band, "ColorTable")
    for index, (red, green, blue) in enumerate(colours):
        opacity = "0" if index == 0 else "255"
        Xml.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=opacity)
    categories = Xml.SubElement(band, "CategoryNames")
    for name in names:
        Xml.SubElement(categories, "Category").text = name
    Xml.indent(root)
    path.write_bytes(Xml.tostring(root, encoding="utf-8") + b"\n")
