"""Refuse what has no price, where the settings say so: an unknown price is no licence to spend."""

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

    async def __call__(self, call: Call, *, proceed: Proceed) -> Reply:
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
        return await proceed(call)

    def _is_priced(self, target: Target, at: datetime) -> bool:
        key = self._keys.get(target.key)
        if key is None:
            if len(self._keys) >= MEMO_SIZE:
                self._keys.clear()
            served = target.served
            model, version = self._catalog.identify(served.provider, served.model)
            key = self._keys[target.key] = PriceKey(
                provider=served.provider, model=model, version=version,
                deployment_type=served.deployment_type, region=served.region,
            )  # fmt: skip
        return self._catalog.row(key, at) is not None
