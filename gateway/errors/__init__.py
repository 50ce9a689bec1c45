"""The error tree.  Every failure that a client can see is one of these, with OpenAI's words for it.

    GatewayError
      RequestError                 400  the client's mistake
        ArrayTooLong               400  more messages, parts or tools than are allowed
        ValueTooLarge              400  more answers or tokens than are allowed
        MediaNotAllowed            400  an URL that no model server is told to fetch
        Unauthorized               401
          KeyExpired               401
        NotFound                   404  also a model that does not exist, or is not for this route
          CannotCount              404  the model's server does not count tokens
        MethodNotAllowed           405
        RequestTimeout             408  the body did not arrive in time
        BodyTooLarge               413
        UnsupportedMediaType       415  the body is declared to be something else than JSON
        Forbidden                  403  this key may not ask for that
        ObjectiveChanged           412  somebody else was faster
        RateLimited                429  more than this key may ask for
          LimitReached             429  as much as it may in a minute
          BudgetSpent              429  as much as it may cost in a day
      Overloaded                   503  too many open requests here
      KeysNotKnownYet              503  nobody could say yet which keys are valid
      ShuttingDown                 503  this process ends before the answer came
      TeacherUnavailable           503  nothing to serve: no draft, no teacher
      NotRecorded                  503  the teacher answered, and its pair could not be written
      StoreUnavailable             503  Redis, where stored completions are read, is away
      Unreadable                   500  a stored completion was sealed with a key that is not here
      InternalError                500  a bug of ours
      UpstreamError                     a model server failed
        UpstreamTimeout            504
        UpstreamUnavailable        503  answered 502, 503 or 504, or broke off
          UpstreamUnreachable      503  no connection could be made
        UpstreamFailed             502  answered any other 5xx: it lives, and could not do this
        UpstreamBusy               503  answered 429
        UpstreamMisconfigured      502  it refused our key, path or model name
        UpstreamMalformed          502  its answer is no chat completion
      UpstreamRefused         as sent   a model server blames the client's request

A message is public: it names no address, no key and no stack.
"""

from gateway.errors.own import ArrayTooLong as ArrayTooLong
from gateway.errors.own import BodyTooLarge as BodyTooLarge
from gateway.errors.own import BudgetSpent as BudgetSpent
from gateway.errors.own import CannotCount as CannotCount
from gateway.errors.own import Forbidden as Forbidden
from gateway.errors.own import GatewayError as GatewayError
from gateway.errors.own import InternalError as InternalError
from gateway.errors.own import KeyExpired as KeyExpired
from gateway.errors.own import KeysNotKnownYet as KeysNotKnownYet
from gateway.errors.own import LimitReached as LimitReached
from gateway.errors.own import MediaNotAllowed as MediaNotAllowed
from gateway.errors.own import MethodNotAllowed as MethodNotAllowed
from gateway.errors.own import ModelNotFound as ModelNotFound
from gateway.errors.own import NotFound as NotFound
from gateway.errors.own import NotRecorded as NotRecorded
from gateway.errors.own import NotServed as NotServed
from gateway.errors.own import ObjectiveChanged as ObjectiveChanged
from gateway.errors.own import Overloaded as Overloaded
from gateway.errors.own import RateLimited as RateLimited
from gateway.errors.own import RequestError as RequestError
from gateway.errors.own import RequestTimeout as RequestTimeout
from gateway.errors.own import ShuttingDown as ShuttingDown
from gateway.errors.own import StoreUnavailable as StoreUnavailable
from gateway.errors.own import TeacherUnavailable as TeacherUnavailable
from gateway.errors.own import Unauthorized as Unauthorized
from gateway.errors.own import Unreadable as Unreadable
from gateway.errors.own import UnsupportedMediaType as UnsupportedMediaType
from gateway.errors.own import ValueTooLarge as ValueTooLarge
from gateway.errors.upstream import ErrorNames as ErrorNames
from gateway.errors.upstream import UpstreamBusy as UpstreamBusy
from gateway.errors.upstream import UpstreamError as UpstreamError
from gateway.errors.upstream import UpstreamFailed as UpstreamFailed
from gateway.errors.upstream import UpstreamMalformed as UpstreamMalformed
from gateway.errors.upstream import UpstreamMisconfigured as UpstreamMisconfigured
from gateway.errors.upstream import UpstreamRefused as UpstreamRefused
from gateway.errors.upstream import UpstreamTimeout as UpstreamTimeout
from gateway.errors.upstream import UpstreamUnavailable as UpstreamUnavailable
from gateway.errors.upstream import UpstreamUnreachable as UpstreamUnreachable
