"""Evaluation: a model and a benchmark make generations, scores and a table."""

from vlmzoo.evaluation.benchmarks import BENCHMARKS, Benchmark, Expected
from vlmzoo.evaluation.generation import complete, sampling_exclusions
from vlmzoo.evaluation.runner import BenchmarkResult, run_benchmark
from vlmzoo.evaluation.suite import evaluate_model, scores_table

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkResult",
    "Expected",
    "complete",
    "evaluate_model",
    "run_benchmark",
    "sampling_exclusions",
    "scores_table",
]
