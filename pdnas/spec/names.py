"""Every vocabulary of the suite, each written once: what a setting, a record or a file may say."""

from __future__ import annotations

from typing import Literal

PublishedData = Literal["cifar10", "cifar100", "imagenet", "digits"]
"""Data sets as published."""

DataName = Literal[PublishedData, "folders"]
"""Data sets: those, and any class folders of the user's."""

PaperSupernet = Literal["M", "MI", "E", "EI", "R-50", "D-121"]
"""Supernets of the paper's tables."""

BranchMerge = Literal["sum", "shake-shake"]
"""How a block's residual paths become one: their sum, or one with random weights in training."""

Part = Literal["train", "heldout", "validation", "test"]
"""Of a data set's images: see :mod:`pdnas.data.splits`."""

GateMode = Literal["learned", "fixed", "none"]
"""What a gate is: variational dropout, dropout at a predefined rate, or nothing."""

Form = Literal["paper", "official"]
"""Scale of the L2 term: the paper's l²/(2N), or the official code's l²/N."""

Prior = Literal["kept", "constant"]
"""Weight of a slice's L2 term: its probability of being kept, or 1."""

Estimator = Literal["straight-through", "relaxed", "softmax", "score"]
"""Gradient of one-of-many switches."""

Kernels = Literal["random", "identity"]
"""How the kernels of cells begin: He's initialisation, or as skip connections."""

SharedKernels = Literal[Kernels, "fading"]
"""How those of a supernet begin; fading: as the sum of both, with less of the identity by epoch."""

Dependence = Literal["independent", "chain"]
"""How the operations of a cell's edges depend on each other."""

BatchNormStatistics = Literal["running", "recalibrated"]
"""BatchNorm statistics that a candidate is judged with: the supernet's, or its own."""

Ranking = Literal["all", "racing"]
"""How candidates are compared: all on every image, or clear losers dropped on the way."""

Source = Literal["posterior", "random", "uniform"]
"""What candidates are drawn from."""

JudgedSource = Literal[Source, "full"]
"""What is judged on the test data: the best of a source, or the whole supernet."""

RetrainMode = Literal["none", "finetune", "scratch"]
"""Weights of a chosen candidate: inherited, fine-tuned, or trained from scratch."""

NetworkFormat = Literal["torch", "export", "onnx"]
"""What an extracted network is written as: Python source, a torch.export program, or ONNX."""

Precision = Literal["float32", "bfloat16"]
"""Arithmetic of networks in training and judging."""

Device = Literal["auto", "cpu", "cuda"]
"""Where networks compute."""

Target = Literal["all", "nasbench", "truths"]
"""Snakemake's targets that run studies."""

TruthData = Literal["cifar10", "cifar100", "imagenet16_120"]
"""Data sets on which NAS-Bench-201 knows how good every cell truly is."""

Encoding = Literal["autodl", "naslib"]
"""Suites that write a cell as six operation numbers."""

RivalMethod = Literal[
    "random", "evolution", "evolution-30", "reinforce", "local-search", "predictor", "tpe"
]
"""Searches of the table of ground truth that train nothing."""

Role = Literal["guided", "random", "full", "plain"]
"""Parts that variants play in a study (:mod:`pdnas.spec.roles`)."""
