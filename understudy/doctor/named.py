"""Looks at the models that clients ask by name: are their servers there, and have they the model.

Nothing is asked of a model itself, for what a question is depends on its routes.
"""

from gateway.named_models import LoadedModel
from understudy.doctor.findings import Fault, Finding, State, Subject
from understudy.doctor.judging import mend_access, unreachable
from understudy.doctor.listing import Listener, Listing, Told
from understudy.doctor.report import Part, Whose


async def named_part(model: LoadedModel, listener: Listener) -> Part:
    """What is to be said of one, under the name that clients know."""
    place = model.config.base_url
    told = await listener.ask(place, model.key)
    return Part(Whose.MODEL, [_server(model, told), _price(model)], None, model.name, place)


def _server(model: LoadedModel, told: Told | Fault) -> Finding:
    subject, wanted = Subject.SERVER, model.config.model
    if isinstance(told, Fault):
        return unreachable(told)
    if not isinstance(told.listing, Listing):
        if told.listing.is_about_key:
            advice = mend_access(told.listing, has_key=model.key is not None)
            return Finding(subject, State.PROBLEM, told.listing.saw, advice)
        return Finding(subject, State.SKIPPED, f"{told.listing.saw}: not told whether it has it")
    if wanted not in told.listing.models:
        has = ", ".join(told.listing.models) or "nothing"
        advice = "mend model, or have the server serve it"
        return Finding(subject, State.PROBLEM, f"has no {wanted}, but {has}", advice)
    return Finding(subject, State.OK, f"has {wanted}")


def _price(model: LoadedModel) -> Finding:
    price = model.config.price
    if price is not None:
        return Finding(Subject.PRICE, State.OK, price.words())
    advice = "say its price: {input: …} in USD per million tokens; until then its cost is unknown"
    return Finding(Subject.PRICE, State.HINT, "unknown", advice)
