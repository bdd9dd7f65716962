"""Azure regions and the data zone that each belongs to.

United States, government and EU members follow from where a region stands. Of the Asia-Pacific zone only the regions
whose data zone meter was seen are listed (retail price list, read 2026-11-23): for others name the zone as the region.
"""

ZONES = {
    "us": (
        "centralus", "eastus", "eastus2", "northcentralus", "southcentralus", "westcentralus", "westus", "westus2",
        "westus3",
    ),
    "eu": (
        "austriaeast", "belgiumcentral", "denmarkeast", "francecentral", "francesouth", "germanynorth",
        "germanywestcentral", "italynorth", "northeurope", "polandcentral", "spaincentral", "swedencentral",
        "swedensouth", "westeurope",
    ),
    "usgov": ("usdodcentral", "usdodeast", "usgovarizona", "usgovtexas", "usgovvirginia"),
    "apac": ("japaneast",),
}  # fmt: skip

_ZONE_OF = {region: zone for zone, regions in ZONES.items() for region in regions}


def plain_region(region: str) -> str:
    """Write a region as the price list does: `Sweden Central` becomes `swedencentral`."""
    return region.lower().replace(" ", "").replace("-", "") if region else ""


def zone_of(region: str) -> str:
    """Name the data zone of a region; empty where it is not known."""
    return _ZONE_OF.get(region, "")
