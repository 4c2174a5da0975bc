"""Sweeps and studies, each of their runs checked before the first begins."""

from vlmzoo.config import AgentStudyConfig, StudyConfig, SweepConfig
from vlmzoo.data.sources import SOURCES
from vlmzoo.runs.agent_study import plan_agent_study
from vlmzoo.runs.checking import check_run
from vlmzoo.runs.study import plan_study
from vlmzoo.runs.sweep import plan_arms

__all__ = ["check_agent_study", "check_study", "check_sweep"]


def check_sweep(config: SweepConfig) -> None:
    """Check every run of a sweep.

    Raises:
        ConfigError: if the sweep cannot be planned, or a run is faulty.
        RegistryError: if a name is unknown.
    """
    for arm in plan_arms(config):
        for run in arm.runs:
            check_run(run)


def check_study(config: StudyConfig) -> None:
    """Check every run of a study, and what its pairs are made of.

    Raises:
        ConfigError: if the study cannot be planned, or a run is faulty.
        RegistryError: if a name is unknown.
    """
    for run in plan_study(config):
        check_run(run.config)
        if run.pairs is not None:
            SOURCES.check(run.pairs.source)


def check_agent_study(config: AgentStudyConfig) -> None:
    """Check every training of a study of an agent.

    Raises:
        ConfigError: if the study cannot be planned, or a run is faulty.
        RegistryError: if a name is unknown.
    """
    for stage in plan_agent_study(config):
        check_run(stage.config)
