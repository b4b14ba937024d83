"""What a model is: the forecaster protocol, the built-in candidates, their features and intervals.

Where to find what:

- The protocol, and how a forecaster is asked and checked: ``forecaster``, ``asking``, ``checks``, ``examples``,
  ``scoring``, ``search``.
- The built-in forecasters by name: ``catalog``; a base for one's own: ``pickled``.
- Statistical forecasters: ``seasonal_naive``, ``ets``, ``theta``, ``croston``, ``adida``, and ``statistical``, which
  chooses by ``demand_kinds``; their common part: ``recomputed``. Their methods for many series at once: ``smoothing``,
  ``theta_method``, ``intermittent``, ``profiles``.
- Boosted trees: ``lightgbm``, made of ``trees``, ``boosting``, ``growing`` and ``sampling``; their features:
  ``features``, ``feature_spec``, ``blocks``, ``windows``, ``neighbours``, ``groups``, ``explaining``; their
  predictions: ``booster`` and the package ``compiled``.
- Several forecasters together: ``ensemble``, ``partitioned``, ``panel_groups``.
- New series: ``coldstart``, ``coldstart_learning``, ``credibility``, ``siblings``, ``launches``, ``unseen``.
- Intervals: ``intervals``, ``held_back``, ``adapted``; of totals and orders: ``total_errors``, ``order_errors``,
  ``reconciliation``.
- What several share: their state in files (``state``) and closed weekdays (``closing``).
- Models of rows, trained elsewhere: the package ``tabular``.
"""
