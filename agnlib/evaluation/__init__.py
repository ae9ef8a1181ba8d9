"""How good are a painter's pictures? Pairs that nobody chose, several questions, baselines that nobody can argue with.

`choose_pairs` deals photographs and references, `evaluate` judges what painters make of them, `summarize` and `table`
say it in numbers, `contact_sheet` shows it. "identity" (the photograph itself) and "style copied" (the reference
itself) are always among the rows, since they show what each number is worth. `random_styles` asks whether styles by
chance are as varied as real ones, and `variety` sums it up. `agnlib evaluate` does all of it.
"""

from agnlib.evaluation._contact_sheet import contact_sheet
from agnlib.evaluation._diversity import Improviser, random_styles, variety, variety_table
from agnlib.evaluation._pairs import Pair, Pictures, choose_pairs
from agnlib.evaluation._rows import BASELINES, Painter, evaluate
from agnlib.evaluation._scoring import Judge, installed_judge
from agnlib.evaluation._table import COLUMNS, markdown_table, summarize, table

__all__ = [
    "BASELINES",
    "COLUMNS",
    "Improviser",
    "Judge",
    "Painter",
    "Pair",
    "Pictures",
    "choose_pairs",
    "contact_sheet",
    "evaluate",
    "installed_judge",
    "markdown_table",
    "random_styles",
    "summarize",
    "table",
    "variety",
    "variety_table",
]
