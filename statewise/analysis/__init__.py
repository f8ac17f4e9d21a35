"""Measurements on any mixer or model: what it can, what it costs, and what its state does.

Each plot is the PNG that its function returns, for whoever writes it to a file.
"""

from statewise.analysis.allocations import peak_bytes as peak_bytes
from statewise.analysis.capability import Card as Card
from statewise.analysis.capability import as_data as as_data
from statewise.analysis.capability import card as card
from statewise.analysis.capability import describe as describe
from statewise.analysis.fixed_points import FixedPoints as FixedPoints
from statewise.analysis.fixed_points import fixed_points as fixed_points
from statewise.analysis.fixed_points import plot_fixed_points as plot_fixed_points
from statewise.analysis.gates import plot_retention as plot_retention
from statewise.analysis.gates import quantiles as quantiles
from statewise.analysis.gates import retention as retention
from statewise.analysis.gradients import gradient_by_lag as gradient_by_lag
from statewise.analysis.gradients import plot_gradients as plot_gradients
from statewise.analysis.graphs import explained as explained
from statewise.analysis.graphs import features_of as features_of
from statewise.analysis.jacobians import jacobian as jacobian
from statewise.analysis.jacobians import plot_spectra as plot_spectra
from statewise.analysis.jacobians import spectra as spectra
from statewise.analysis.jacobians import spectral_radius as spectral_radius
from statewise.analysis.lengths import extrapolation as extrapolation
from statewise.analysis.lengths import plot_extrapolation as plot_extrapolation
from statewise.analysis.linear_form import LinearForm as LinearForm
from statewise.analysis.linear_form import linear_form as linear_form
from statewise.analysis.linear_form import replayed as replayed
from statewise.analysis.logos import Logo as Logo
from statewise.analysis.logos import filter_logos as filter_logos
from statewise.analysis.memory import memory_curve as memory_curve
from statewise.analysis.memory import plot_memory as plot_memory
from statewise.analysis.needles import needle_map as needle_map
from statewise.analysis.needles import plot_needles as plot_needles
from statewise.analysis.positions import loss_by_position as loss_by_position
from statewise.analysis.positions import plot_positions as plot_positions
from statewise.analysis.probes import by_position as by_position
from statewise.analysis.probes import linear_probe as linear_probe
from statewise.analysis.probes import units_of as units_of
from statewise.analysis.ranks import effective_rank as effective_rank
from statewise.analysis.ranks import plot_ranks as plot_ranks
from statewise.analysis.ranks import plot_sizes as plot_sizes
from statewise.analysis.ranks import sizes as sizes
from statewise.analysis.readout import Ridge as Ridge
from statewise.analysis.throughput import affordable as affordable
from statewise.analysis.throughput import costs as costs
from statewise.analysis.throughput import exponent as exponent
from statewise.analysis.throughput import plot_costs as plot_costs
from statewise.analysis.trajectories import steps_apart as steps_apart
from statewise.analysis.trajectories import visited as visited
from statewise.analysis.variance import variance_shares as variance_shares

__all__ = [
    "Card",
    "FixedPoints",
    "LinearForm",
    "Logo",
    "Ridge",
    "affordable",
    "as_data",
    "by_position",
    "card",
    "costs",
    "describe",
    "effective_rank",
    "explained",
    "exponent",
    "extrapolation",
    "features_of",
    "filter_logos",
    "fixed_points",
    "gradient_by_lag",
    "jacobian",
    "linear_form",
    "linear_probe",
    "loss_by_position",
    "memory_curve",
    "needle_map",
    "peak_bytes",
    "plot_costs",
    "plot_extrapolation",
    "plot_fixed_points",
    "plot_gradients",
    "plot_memory",
    "plot_needles",
    "plot_positions",
    "plot_ranks",
    "plot_retention",
    "plot_sizes",
    "plot_spectra",
    "quantiles",
    "replayed",
    "retention",
    "sizes",
    "spectra",
    "spectral_radius",
    "steps_apart",
    "units_of",
    "variance_shares",
    "visited",
]
