"""What searches and retrainings of language models share: hidden states, masks and penalties.

Scores, which need Lightning, are in `lit_nas.language.scores`: networks are described without it.
"""

from lit_nas.language.hidden_states import HiddenStates, StatedWindow
from lit_nas.language.masks import LanguageDropout, Masks
from lit_nas.language.penalty import ActivationPenalty

__all__ = ("ActivationPenalty", "HiddenStates", "LanguageDropout", "Masks", "StatedWindow")
