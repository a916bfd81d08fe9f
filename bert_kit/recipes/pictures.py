"""Whether a job draws pictures: where they are wanted and matplotlib is installed."""

from bert_kit.evaluation import PlotsMissing, require_plots


def can_draw(wanted, say):
    """Return whether to draw; where pictures are wanted and cannot be drawn, `say` is told why.

    A job asks once, so that it is said once.
    """
    try:
        if wanted:
            require_plots()
    except PlotsMissing as missing:
        say(str(missing))
        return False
    return wanted
