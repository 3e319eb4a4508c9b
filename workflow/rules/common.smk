"""The scale, validated before anything runs, and the names that all rules share."""

import sys

from pdnas.config import load_scale
from pdnas.errors import PdnasError

KNOWN_KEYS = {"scale", "studies"}

try:
    if unknown := set(config) - KNOWN_KEYS:
        raise PdnasError(
            f"unknown config key {min(unknown)!r}; known are {', '.join(sorted(KNOWN_KEYS))}"
        )
    SCALE = load_scale(str(config["scale"]))
    chosen = config["studies"] or list(SCALE.studies)
    if isinstance(chosen, str):
        chosen = [chosen]
    for name in chosen:
        if name not in SCALE.studies:
            raise PdnasError(f"no study {name!r} at this scale; choose {', '.join(SCALE.studies)}")
    STUDIES = {name: SCALE.studies[name] for name in chosen}
except PdnasError as error:
    print(f"pdnas: error: {error}", file=sys.stderr)
    sys.exit(2)

RUNS = f"runs/{Path(str(config['scale'])).stem}"
RUN = f"{RUNS}/{{study}}/{{variant}}/seed{{seed}}"
GPU = 0 if SCALE.device == "cpu" else int(SCALE.device == "cuda")


wildcard_constraints:
    study="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    source="posterior|random|uniform|full",
    mode="none|finetune|scratch",
    name="[^/]+",


def spec(wildcards):
    """The specification of a run, as text: a job runs again when it changes."""
    return SCALE.spec(wildcards.study, wildcards.variant).model_dump_json()


def limits(**more):
    """Resources of a job that computes."""
    return dict(mem_mb=SCALE.memory_mb, runtime=SCALE.runtime_minutes, gpu=GPU, **more)


def source_of(study, variant):
    """What a variant's candidates are drawn from; the plain network has just itself."""
    mode = SCALE.spec(study, variant).gates.mode
    return {"learned": "posterior", "fixed": "random", "none": "full"}[mode]


# Tables 3 and 5 compare with and without fine-tuning.
FINETUNED = ("guided", "random", "guided-tau-2-3")


def results():
    """The last file of everything that is to be run."""
    for study, content in STUDIES.items():
        for variant in content.variants:
            settings = SCALE.spec(study, variant)
            source = source_of(study, variant)
            for seed in content.seeds:
                run = f"{RUNS}/{study}/{variant}/seed{seed}"
                if settings.supernet.name == "nasbench201":
                    yield f"{run}/ranking-{'posterior' if source == 'posterior' else 'uniform'}.json"
                    # The ground truth was trained on CIFAR-10; it says nothing of other images.
                    if settings.data.name == "cifar10":
                        yield f"{run}/efficiency.json"
                    continue
                yield f"{run}/result-{source}-none.json"
                if settings.retrain and variant in FINETUNED:
                    yield f"{run}/result-{source}-finetune.json"


RESULTS = list(results())
