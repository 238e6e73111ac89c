"""The atlas of stations, second edition: neck, chest, abdomen and pelvis, with sizes.

Source:
    Neck: levels of Gregoire et al. 2014 (doi:10.1016/j.radonc.2013.10.010). Chest: IASLC map, Rusch
    et al. 2009 (doi:10.1097/JTO.0b013e3181a0d82e). Abdomen and pelvis: the regions of Harisinghani,
    "Atlas of Lymph Node Anatomy", 2013. Sizes by region: of the NIH CT Lymph Nodes, mediastinal
    nodes have a median volume of 3.8 ml, abdominal ones of 2.0 ml, and all of them 2.9 ml.
"""

from __future__ import annotations

from ..stations import Station, mirrored

_CHEST, _BELLY, _NECK = 1.09, 0.88, 0.92
"""Median short axis over that of all: cube root of the ratio of volumes."""

# The right one of each pair: middle, spread, weight.
_PAIRS: dict[str, Station] = {
    "neck_IB": Station((26, 44, 745), (8, 8, 6), 0.8, _NECK),
    "neck_IIA": Station((38, 20, 742), (6, 7, 11), 1.4, _NECK),
    "neck_IIB": Station((47, 0, 744), (6, 8, 11), 0.7, _NECK),
    "neck_III": Station((36, 12, 712), (7, 8, 12), 1.2, _NECK),
    "neck_IVA": Station((36, 18, 688), (7, 8, 10), 1.0, _NECK),
    "neck_IVB": Station((30, 8, 666), (6, 7, 6), 0.4, _NECK),
    "neck_VA": Station((52, -8, 724), (6, 10, 9), 0.5, _NECK),
    "neck_VB": Station((52, -16, 696), (6, 12, 10), 0.6, _NECK),
    "neck_VC": Station((66, 6, 672), (10, 10, 6), 0.5, _NECK),
    "neck_VIIA": Station((14, -6, 774), (4, 4, 10), 0.4, _NECK),
    "neck_VIII": Station((52, 4, 772), (7, 8, 9), 0.3, _NECK),
    "supraclavicular": Station((60, 18, 660), (15, 11, 8), 1.5, _NECK),
    "axillary_I": Station((118, 6, 592), (11, 14, 18), 1.5, _NECK),
    "axillary_II": Station((108, 20, 616), (10, 8, 12), 0.6, _NECK),
    "axillary_III": Station((84, 30, 634), (9, 7, 8), 0.3, _NECK),
    "internal_mammary": Station((28, 68, 580), (5, 4, 25), 0.3, _CHEST),
    "1": Station((16, 12, 640), (7, 8, 8), 0.6, _CHEST),
    "2": Station((16, 0, 618), (7, 8, 10), 0.9, _CHEST),
    "4": Station((24, -6, 580), (7, 9, 9), 1.4, _CHEST),
    "9": Station((24, -34, 462), (7, 7, 12), 0.3, _CHEST),
    "hilar_10": Station((40, -6, 540), (8, 9, 12), 1.3, _CHEST),
    "interlobar_11": Station((52, -10, 520), (8, 10, 10), 0.8, _CHEST),
    "cardiophrenic": Station((48, 54, 440), (10, 7, 8), 0.3, _CHEST),
    "renal_hilum": Station((36, -34, 308), (7, 8, 10), 0.6, _BELLY),
    "common_iliac": Station((36, -4, 172), (8, 8, 18), 0.8, _BELLY),
    "external_iliac": Station((70, 30, 84), (8, 9, 22), 0.8, _BELLY),
    "internal_iliac": Station((50, -14, 104), (8, 9, 14), 0.5, _BELLY),
    "obturator": Station((60, 10, 70), (7, 9, 12), 0.6, _BELLY),
    "inguinal": Station((82, 56, 24), (11, 8, 16), 1.4, _BELLY),
}
_SINGLE: dict[str, Station] = {
    "neck_IA": Station((0, 52, 747), (6, 6, 5), 0.3, _NECK),
    "neck_VI": Station((0, 36, 688), (10, 6, 12), 0.4, _NECK),
    "3a": Station((2, 46, 590), (16, 8, 16), 0.9, _CHEST),
    "3p": Station((2, -32, 600), (8, 5, 14), 0.3, _CHEST),
    "5": Station((-34, 6, 575), (7, 8, 8), 0.8, _CHEST),
    "6": Station((-22, 28, 592), (8, 7, 10), 0.6, _CHEST),
    "7": Station((4, -18, 538), (11, 8, 9), 1.4, _CHEST),
    "8": Station((4, -30, 480), (11, 6, 20), 0.6, _CHEST),
    "retrocrural": Station((4, -34, 402), (10, 5, 10), 0.5, _BELLY),
    "coeliac": Station((-12, 4, 362), (12, 9, 9), 0.9, _BELLY),
    "gastrohepatic": Station((-22, 26, 376), (10, 9, 9), 0.6, _BELLY),
    "portal": Station((28, 14, 350), (10, 8, 10), 0.8, _BELLY),
    "portocaval": Station((20, 0, 346), (7, 7, 8), 0.5, _BELLY),
    "splenic_hilum": Station((-76, -28, 372), (9, 9, 10), 0.3, _BELLY),
    "mesenteric_root": Station((-4, 20, 292), (14, 10, 14), 0.9, _BELLY),
    "mesenteric": Station((-8, 30, 235), (32, 14, 26), 1.2, _BELLY),
    "ileocolic": Station((66, 18, 188), (14, 10, 14), 0.4, _BELLY),
    "para_caval": Station((32, -18, 262), (7, 8, 28), 0.7, _BELLY),
    "aortocaval": Station((8, -18, 262), (5, 8, 28), 1.0, _BELLY),
    "para_aortic_left": Station((-20, -18, 265), (7, 8, 32), 1.5, _BELLY),
    "presacral": Station((0, -44, 128), (12, 6, 14), 0.3, _BELLY),
}

ATLAS: dict[str, Station] = {
    **{key: one for name, right in _PAIRS.items() for key, one in mirrored(name, right).items()},
    **_SINGLE,
}
"""Every station: name, place in atlas mm, how often and how large."""
