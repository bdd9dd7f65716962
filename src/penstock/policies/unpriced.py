"""Refuse what has no price, where the settings say so: an unknown price is no licence to spend."""

from collections.abc import Awaitable
from datetime import datetime

from penstock.errors import RefusedError
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Target
from penstock.policies.pipeline import Proceed
from penstock.pricing.catalog import MEMO_SIZE, Catalog, PriceKey


class RefuseUnpriced:
    """Leaves only deployments whose price is known; none left: the call is refused."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._keys: dict[str, PriceKey] = {}
        self._spans: dict[str, tuple[datetime, datetime]] = {}
        """From when until when a target is known to have a price."""

    def __call__(self, call: Call, *, proceed: Proceed) -> Awaitable[Reply]:
        """Let the call go to priced deployments only."""
        targets = call.targets
        if not (len(targets) == 1 and self._is_priced(targets[0], call.at)):
            call.targets = tuple(target for target in targets if self._is_priced(target, call.at))
            if not call.targets:
                raise RefusedError(
                    403,
                    "unpriced_model",
                    f"The model {call.requested_model} has no price, and unpriced calls are refused here. "
                    f"Add one with: penstock prices set {call.requested_model}",
                )
        return proceed(call)

    def _is_priced(self, target: Target, at: datetime) -> bool:
        span = self._spans.get(target.key)
        if span is not None and span[0] <= at < span[1]:
            return True
        key = self._keys.get(target.key)
        if key is None:
            if len(self._keys) >= MEMO_SIZE:
                self._keys.clear()
                self._spans.clear()
            served = target.served
            model, version = self._catalog.identify(served.provider, served.model)
            key = self._keys[target.key] = PriceKey(
                provider=served.provider, model=model, version=version,
                deployment_type=served.deployment_type, region=served.region,
            )  # fmt: skip
        priced = self._catalog.row(key, at) is not None
        quote = self._catalog.quote(key, at)
        if quote is not None:
            self._spans[target.key] = quote[1:]
        return priced
