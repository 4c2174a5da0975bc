"""Processes that `srun` started know their number."""

import pytest

from vlmzoo.errors import ConfigError
from vlmzoo.integrations.slurm import slurm_rank

STEP = {
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "gpu[003-004]",
}


def test_a_task_of_srun_is_one_of_many():
    assert slurm_rank(STEP) == {
        "RANK": "9",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "16",
        "MASTER_ADDR": "gpu003",
        "MASTER_PORT": "23458",
    }


def test_where_to_meet_may_be_said():
    told = slurm_rank(STEP | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("10.0.0.1", "29500")


@pytest.mark.parametrize(
    "environment", [{}, {"SLURM_NTASKS": "16", "SLURM_PROCID": "0"}, STEP | {"SLURM_STEP_NUM_TASKS": "1"}]
)
def test_a_batch_script_and_a_single_task_are_alone(environment):
    assert slurm_rank(environment) == {}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("gpu[003-005,9],login1", "gpu003"),
        ("a[7]", "a7"),
        ("rack[1-2]-ib,other", "rack1-ib"),
    ],
)
def test_the_first_host_of_a_list(nodes, first):
    assert slurm_rank(STEP | {"SLURM_STEP_NODELIST": nodes})["MASTER_ADDR"] == first


def test_a_step_without_hosts_says_what_to_set():
    with pytest.raises(ConfigError, match="one of 16 tasks that srun started.*export MASTER_ADDR"):
        slurm_rank({name: value for name, value in STEP.items() if name != "SLURM_STEP_NODELIST"})
