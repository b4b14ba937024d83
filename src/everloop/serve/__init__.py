"""The data plane: answers requests, follows promotions without dropping one, and logs every answer.

Where to find what:

- The process: ``process``, ``app``, ``address``, ``threads``; the connections: the package ``http``.
- Who may ask: ``admission``, ``gate``, and the package ``doors`` (keys, limits, TLS, the request log).
- Routes: ``endpoint`` for all, ``direct`` and ``direct_forecast`` for the hot ones; ``forecasting``, ``feedback``, and
  the packages ``invocations``, ``v2`` and ``playground``; what they read and refuse: ``bodies``, ``query``, ``rows``,
  ``future_values``, ``failures``; how they are described: ``openapi``, ``openapi_schemas``, ``describing``.
- What is in charge: ``host`` follows ``desired``; ``preparing``, ``loading``, ``tryout``, ``chronicle`` and ``heap``
  help it; ``served`` and ``serving`` are what it holds.
- Who answers: ``service``, ``traffic``, ``fallback``, ``breaker``, ``baseline``, ``shadow``.
- The answer itself: ``answers``, ``snapshot``, ``newcomers``, ``repeating``, ``recording``, and the packages
  ``tabular`` (models of rows), ``batch`` (all series at once) and ``log`` (answers kept).
- What really happened: ``outcomes``, ``row_outcomes``, ``measurements``, ``entries``.
- What is measured of the server: ``metrics``, ``tally``, ``standing``.
"""
