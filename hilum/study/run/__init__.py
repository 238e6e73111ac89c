"""Run the cells of a study, here or on SLURM. The room is called like the command that does it."""

from hilum.core.callable_module import calls

calls(__name__, "hilum.study.commands:run")
