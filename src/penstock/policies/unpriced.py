"""Refuse what has no price, where the settings say so: an unknown price is no licence to spend."""

from penstock.errors import RefusedError
from penstock.policies.call import Call, Reply
from penstock.policies.deployments import Target
from penstock.policies.pipeline import Proceed
from penstock.pricing.catalog import Catalog, PriceKey


class RefuseUnpriced:
    """Leaves only deployments whose price is known; none left: the call is refused."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, call: Call, *, proceed: Proceed) -> Reply:
        """Let the call go to priced deployments only."""
        priced = tuple(target for target in call.targets if self._is_priced(call, target))
        if not priced:
            raise RefusedError(
                403,
                "unpriced_model",
                f"The model {call.requested_model} has no price, and unpriced calls are refused here. "
                f"Add one with: penstock prices set {call.requested_model}",
            )
        call.targets = priced
        return await proceed(call)

    def _is_priced(self, call: Call, target: Target) -> bool:
        served = target.served
        model, version = self._catalog.identify(served.provider, served.model)
        key = PriceKey(
            provider=served.provider, model=model, version=version,
            deployment_type=served.deployment_type, region=served.region,
        )  # fmt: skip
        return self._catalog.row(key, call.at) is not None
