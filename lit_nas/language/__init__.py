"""What searches and retrainings of language models share: windows, hidden states, masks, penalties and scores."""

from lit_nas.language.hidden_states import HiddenStates, StatedWindow
from lit_nas.language.masks import LanguageDropout, Masks
from lit_nas.language.penalty import ActivationPenalty
from lit_nas.language.scores import LanguageScores

__all__ = ("ActivationPenalty", "HiddenStates", "LanguageDropout", "LanguageScores", "Masks", "StatedWindow")
