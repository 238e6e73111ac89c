"""The table of names that nodes go by takes their spellings, and no neighbour's."""

from __future__ import annotations

import re

import pytest

from hilum.datasets.dicom_labels import NODE_NAMES

NODES = [
    "GTVn",
    "GTV-N",
    "GTV_N",
    "gtv n",
    "GTVn1",
    "GTV N2",
    "GTV-1_N",
    "GTVnd",
    "GTV_LN",
    "GTV LNs",
    "GTVln2",
    "GTVnodes",
    "GTV node",
    "GTV NODAL",
    "GTVnL",
    "GTVn_R",
    "GTVn left",
    "iGTVn",
    "nodal GTV",
    "Node GTV 2",
    "LN",
    "LN2",
    "LN_R",
    "LNs left",
    "lymph node",
    "Lymph_Nodes_3",
    "lymphnode",
    "Mediastinal lymphadenopathy",
    "Lymphknoten links",
    "Node 3",
    "nodes",
    "node_R",
    "Adénopathie droite",
    "GTV ADP",
    "GTV lymph nodes",
]
OTHERS = [
    "GTV",
    "GTVp",
    "GTV-P",
    "GTV1",
    "CTVn",
    "PTV N",
    "CTV lymph nodes",
    "Lymph node level II",
    "LN_level_3",
    "Larynx",
    "Lung_L",
    "nodule",
    "Lens",
    "Brain",
    "Alnus",
    "External",
    "N",
    "Elective lymph nodes",
    "GTV new",
    "GTV neck",
    "GTV_nasopharynx",
    "GTV_nodule",
]


def known(name: str) -> bool:
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in NODE_NAMES)


@pytest.mark.parametrize("name", NODES)
def test_names_of_nodes_are_known(name: str) -> None:
    assert known(name)


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_other_things_are_not(name: str) -> None:
    assert not known(name)


def test_all_are_of_one_class() -> None:
    assert set(NODE_NAMES.values()) == {1}
