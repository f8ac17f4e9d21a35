"""A baseline: classes by a network over what a denoising autoencoder makes of the inputs.

    h = relu(V x + b)         learned first, with W h + c near x where x lacks some of its numbers
    class                     by a network over h, which is then left as it is

Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008,
section 2, of one layer and without tuning all together at last; both networks are scikit-learn's.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor


def denoised_classes(
    train: Float[Tensor, "train dim"],
    classes: Sequence[str],
    test: Float[Tensor, "test dim"],
    *,
    hidden: int = 64,
    missing: float = 0.2,
    epochs: int = 20,
    seed: int = 0,
) -> list[str]:
    """Return the classes of other examples.

    Args:
        train: examples to learn from.
        classes: of these.
        test: the others.
        hidden: units of either network.
        missing: the share of numbers that are 0 where the autoencoder learns to put them right.
        epochs: how often each reads all examples, at most.
        seed: of all that is drawn.

    Raises:
        ImportError: without scikit-learn.
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError:
        raise ImportError(
            "the networks are scikit-learn's: pip install 'statewise[tasks]'"
        ) from None
    x, draw = train.numpy(), np.random.default_rng(seed)
    encoder = MLPRegressor(hidden_layer_sizes=hidden, max_iter=epochs, random_state=seed)
    classifier = MLPClassifier(hidden_layer_sizes=hidden, max_iter=epochs, random_state=seed)

    def encoded(x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ encoder.coefs_[0] + encoder.intercepts_[0], 0)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer")  # the epochs are what was asked
        encoder.fit(x * (draw.random(x.shape) >= missing), x)
        classifier.fit(encoded(x), list(classes))
    return [str(found) for found in classifier.predict(encoded(test.numpy()))]
