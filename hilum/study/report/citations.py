"""What a study should cite, as text and as BibTeX: the methods that its runs used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

JOURNALS = ("IEEE", "Journal", "Analysis", "Nature", "TMLR", "Reports", "Annals", "Radiology")
JOURNALS += ("Communications",)
"""What the name of a journal has, and no conference's."""


class Reference(NamedTuple):
    """One publication.

    Attributes:
        authors: As BibTeX wants them; "others" for the rest.
        title: Of the publication.
        venue: Journal or conference; empty for a preprint.
        year: Of publication.
        where: `arXiv:...` or `doi:...`; empty if neither.
    """

    authors: str
    title: str
    venue: str
    year: int
    where: str = ""

    def text(self) -> str:
        """Return one line for a list of references."""
        first = self.authors.split(" and ")[0].split(",")[0]
        many = " et al." if " and " in self.authors else ""
        venue = f"{self.venue} {self.year}" if self.venue else str(self.year)
        return f"{first}{many}, {self.title}, {venue}" + (f", {self.where}" if self.where else "")

    def bibtex(self, key: str) -> str:
        """Return a BibTeX entry."""
        kind, place = ("misc", "") if not self.venue else ("inproceedings", "booktitle")
        if any(word in self.venue for word in JOURNALS):
            kind, place = "article", "journal"
        fields = {"author": self.authors, "title": f"{{{self.title}}}", "year": str(self.year)}
        if place:
            fields[place] = self.venue
        if self.where.startswith("arXiv:"):
            fields |= {"eprint": self.where[6:], "archiveprefix": "arXiv"}
        elif self.where.startswith("doi:"):
            fields["doi"] = self.where[4:]
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{key},\n{body}\n}}"


R = Reference
CITATIONS: dict[str, Reference] = {
    "masked_autoencoder": R(
        "He, K. and others", "Masked Autoencoders Are Scalable Vision Learners", "CVPR", 2022,
        "arXiv:2111.06377",
    ),
    "multimodal_tokens": R(
        "Bachmann, R. and others", "MultiMAE: Multi-modal Multi-task Masked Autoencoders", "ECCV",
        2022, "arXiv:2204.01678",
    ),
    "sparse_autoencoder": R(
        "Tian, K. and others", "Designing BERT for Convolutional Networks", "ICLR", 2023,
        "arXiv:2301.03580",
    ),
    "simmim": R(
        "Xie, Z. and others", "SimMIM: A Simple Framework for Masked Image Modeling", "CVPR", 2022,
        "arXiv:2111.09886",
    ),
    "models_genesis": R(
        "Zhou, Z. and others", "Models Genesis", "Medical Image Analysis", 2021, "arXiv:2004.07882"
    ),
    "volume_fusion": R(
        "Wang, G. and others",
        "MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a "
        "Large-Scale Unannotated Dataset",
        "", 2023, "arXiv:2306.16925",
    ),
    "swin_triple": R(
        "Tang, Y. and others",
        "Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image Analysis",
        "CVPR", 2022, "arXiv:2111.14791",
    ),
    "self_distillation": R(
        "Zhou, J. and others", "iBOT: Image BERT Pre-Training with Online Tokenizer", "ICLR", 2022,
        "arXiv:2111.07832",
    ),
    "dino": R(
        "Caron, M. and others", "Emerging Properties in Self-Supervised Vision Transformers",
        "ICCV", 2021, "arXiv:2104.14294",
    ),
    "simclr": R(
        "Chen, T. and others",
        "A Simple Framework for Contrastive Learning of Visual Representations", "ICML", 2020,
        "arXiv:2002.05709",
    ),
    "voco": R(
        "Wu, L. and Zhuang, J. and Chen, H.",
        "VoCo: A Simple-yet-Effective Volume Contrastive Learning Framework for 3D Medical Image "
        "Analysis",
        "CVPR", 2024, "arXiv:2402.17300",
    ),
    "resenc": R("Isensee, F. and others", "nnU-Net Revisited", "MICCAI", 2024, "arXiv:2404.09556"),
    "plainconv": R(
        "Isensee, F. and others",
        "nnU-Net: A Self-Configuring Method for Deep Learning-Based Biomedical Image Segmentation",
        "Nature Methods", 2021, "doi:10.1038/s41592-020-01008-z",
    ),
    "segresnet": R(
        "Myronenko, A.", "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization",
        "BrainLes", 2018, "arXiv:1810.11654",
    ),
    "mednext": R("Roy, S. and others", "MedNeXt", "MICCAI", 2023, "arXiv:2303.09975"),
    "primus": R(
        "Wald, T. and others",
        "Primus: Enforcing Attention Usage for 3D Medical Image Segmentation", "", 2025,
        "arXiv:2503.01835",
    ),
    "resnet3d": R(
        "Chen, S. and Ma, K. and Zheng, Y.",
        "Med3D: Transfer Learning for 3D Medical Image Analysis", "", 2019, "arXiv:1904.00625",
    ),
    "unet3d": R("Cicek, O. and others", "3D U-Net", "MICCAI", 2016, "arXiv:1606.06650"),
    "swin": R(
        "Hatamizadeh, A. and others", "Swin UNETR", "BrainLes", 2021, "arXiv:2201.01266"
    ),
    "vit": R(
        "Dosovitskiy, A. and others", "An Image is Worth 16x16 Words", "ICLR", 2021,
        "arXiv:2010.11929",
    ),
    "timm_cnn": R(
        "Wightman, R.", "PyTorch Image Models", "", 2019, "doi:10.5281/zenodo.4414861"
    ),
    "slices": R("Oquab, M. and others", "DINOv2", "TMLR", 2024, "arXiv:2304.07193"),
    "vit_slices": R("Oquab, M. and others", "DINOv2", "TMLR", 2024, "arXiv:2304.07193"),
    "videomae": R("Tong, Z. and others", "VideoMAE", "NeurIPS", 2022, "arXiv:2203.12602"),
    "stems": R("Dolz, J. and others", "IVD-Net", "MICCAI CSI", 2018, "arXiv:1811.08305"),
    "shared": R(
        "Dou, Q. and others",
        "Unpaired Multi-modal Segmentation via Knowledge Distillation", "IEEE TMI", 2020,
        "arXiv:2001.03111",
    ),
    "mean": R(
        "Havaei, M. and others", "HeMIS: Hetero-Modal Image Segmentation", "MICCAI", 2016,
        "arXiv:1607.05194",
    ),
    "concat": R("Dolz, J. and others", "HyperDense-Net", "IEEE TMI", 2019, "arXiv:1804.02967"),
    "gated": R(
        "Arevalo, J. and others", "Gated Multimodal Units for Information Fusion",
        "ICLR Workshop", 2017, "arXiv:1702.01992",
    ),
    "film": R(
        "Perez, E. and others", "FiLM: Visual Reasoning with a General Conditioning Layer", "AAAI",
        2018, "arXiv:1709.07871",
    ),
    "cross_attention": R(
        "Vaswani, A. and others", "Attention Is All You Need", "NeurIPS", 2017, "arXiv:1706.03762"
    ),
    "deformable": R("Zhu, X. and others", "Deformable DETR", "ICLR", 2021, "arXiv:2010.04159"),
    "bottleneck": R(
        "Nagrani, A. and others", "Attention Bottlenecks for Multimodal Fusion", "NeurIPS", 2021,
        "arXiv:2107.00135",
    ),
    "variational": R(
        "Dorent, R. and others", "Hetero-Modal Variational Encoder-Decoder", "MICCAI", 2019,
        "arXiv:1907.11150",
    ),
    "late": R(
        "Andrearczyk, V. and others",
        "Automatic Segmentation of Head and Neck Tumors and Nodal Metastases in PET-CT Scans",
        "MIDL", 2020,
    ),
    "late_uncertainty": R(
        "Guo, C. and others", "On Calibration of Modern Neural Networks", "ICML", 2017,
        "arXiv:1706.04599",
    ),
    "late_evidence": R(
        "Han, Z. and others", "Trusted Multi-View Classification", "ICLR", 2021, "arXiv:2102.02051"
    ),
    "dscagg": R(
        "Andrearczyk, V. and others", "Overview of the HECKTOR Challenge at MICCAI 2022",
        "HECKTOR", 2022,
    ),
    "fpv": R(
        "Gatidis, S. and others",
        "Results from the autoPET Challenge on Fully Automated Lesion Segmentation in Oncologic "
        "PET/CT Imaging",
        "Nature Machine Intelligence", 2024,
    ),
    "monai": R("Cardoso, M. J. and others", "MONAI", "", 2022, "arXiv:2211.02701"),
    "holm": R(
        "Holm, S.", "A Simple Sequentially Rejective Multiple Test Procedure",
        "Scandinavian Journal of Statistics", 1979,
    ),
    "random_effects": R(
        "Obuchowski, N. A. and Rockette, H. E.",
        "Hypothesis Testing of Diagnostic Accuracy for Multiple Readers and Multiple Tests: An "
        "ANOVA Approach with Dependent Observations",
        "Communications in Statistics: Simulation and Computation", 1995,
    ),
    "pseudovalues": R(
        "Dorfman, D. D. and Berbaum, K. S. and Metz, C. E.",
        "Receiver Operating Characteristic Rating Analysis: Generalization to the Population of "
        "Readers and Patients with the Jackknife Method",
        "Investigative Radiology", 1992,
    ),
    "bootstrap": R(
        "Owen, A. B.", "The Pigeonhole Bootstrap", "Annals of Applied Statistics", 2007
    ),
    "equivalence": R(
        "Schuirmann, D. J.",
        "A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing "
        "the Equivalence of Average Bioavailability",
        "Journal of Pharmacokinetics and Biopharmaceutics", 1987, "doi:10.1007/BF01068419",
    ),
    "ranking": R(
        "Wiesenfarth, M. and others",
        "Methods and Open-Source Toolkit for Analyzing and Visualizing Challenge Results",
        "Scientific Reports", 2021, "arXiv:1910.05121",
    ),
}  # fmt: skip
"""References by the name of a method, as in the settings of a run."""

ALWAYS = (
    "dscagg",
    "fpv",
    "monai",
    "random_effects",
    "pseudovalues",
    "bootstrap",
    "holm",
    "equivalence",
    "ranking",
)


def cited(names: Iterable[str]) -> dict[str, Reference]:
    """Return the references for these methods and for what every report uses."""
    found = {
        name: CITATIONS[name] for name in dict.fromkeys([*names, *ALWAYS]) if name in CITATIONS
    }
    seen: set[Reference] = set()
    return {k: r for k, r in found.items() if not (r in seen or seen.add(r))}


def bibtex(names: Iterable[str]) -> str:
    """Return a BibTeX file for these methods."""
    return "\n\n".join(ref.bibtex(name) for name, ref in cited(names).items()) + "\n"
