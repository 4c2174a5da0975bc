"""Configurations: YAML in, checked values out, every fault reported at once; loads without torch."""

from vlmzoo.config.files import find_config, list_configs
from vlmzoo.config.loading import load_config, parse_overrides
from vlmzoo.config.resolved import dump_resolved
from vlmzoo.config.schema import (
    AuditConfig,
    EvalConfig,
    HubConfig,
    LmmsEvalConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ScheduleConfig,
)
from vlmzoo.config.studies import (
    AgentStudyConfig,
    AlignmentConfig,
    ArmConfig,
    MatchConfig,
    MiaConfig,
    StudyConfig,
    SweepConfig,
)

__all__ = [
    "AgentStudyConfig",
    "AlignmentConfig",
    "ArmConfig",
    "AuditConfig",
    "EvalConfig",
    "HubConfig",
    "LmmsEvalConfig",
    "MatchConfig",
    "MiaConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "ScheduleConfig",
    "StudyConfig",
    "SweepConfig",
    "dump_resolved",
    "find_config",
    "list_configs",
    "load_config",
    "parse_overrides",
]
