"""Linear attention with exponential gates, stabilized by their running maximum: mLSTM's memory."""

from statewise.ops.stabilized_attention import reference
