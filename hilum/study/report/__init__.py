"""From finished cells to tables, statistics and the HTML report; called, it writes the report."""

from hilum.core.callable_module import calls

calls(__name__, "hilum.study.commands:report")
