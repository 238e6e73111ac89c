"""What a study should cite: the methods that its runs used."""

from __future__ import annotations

from collections.abc import Iterable

CITATIONS: dict[str, str] = {
    "masked_autoencoder": "He et al., Masked Autoencoders Are Scalable Vision Learners, "
    "CVPR 2022, arXiv:2111.06377",
    "resenc": "Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv:2404.09556",
    "segresnet": "Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, "
    "BrainLes 2018, arXiv:1810.11654",
    "timm_cnn": "Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861; Carreira and "
    "Zisserman (inflation), CVPR 2017, arXiv:1705.07750",
    "vit_slices": "Oquab et al., DINOv2, TMLR 2024, arXiv:2304.07193",
    "cross_attention": "Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv:1706.03762",
    "late": "Andrearczyk et al., Automatic segmentation of head and neck tumors and nodal "
    "metastases in PET-CT scans, MIDL 2020",
    "dscagg": "HECKTOR challenge (aggregated Dice), MICCAI 2022",
    "fpv": "Gatidis et al., Results from the autoPET challenge, Nature Machine Intelligence 2024",
    "monai": "Cardoso et al., MONAI, arXiv:2211.02701",
    "holm": "Holm, A simple sequentially rejective multiple test procedure, Scand J Stat 1979",
}

ALWAYS = ("dscagg", "fpv", "monai", "holm")


def cite(names: Iterable[str]) -> list[str]:
    """Return the references for these methods and for what every report uses."""
    return [CITATIONS[name] for name in dict.fromkeys([*names, *ALWAYS]) if name in CITATIONS]
