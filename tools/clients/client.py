"""Calls a gateway with the client that openapi-python-client generates. Run by crates/gateway/tests/it/clients.rs:
    python client.py <base URL> <token>
"""

import datetime
import json
import sys
import uuid

from greenroom_client import AuthenticatedClient
from greenroom_client.api.bookings import create_booking, get_booking, list_bookings
from greenroom_client.models import BookingStatus, CreateBooking, EnvelopeBooking, EnvelopeVecBooking, Problem


def main(base_url: str, token: str) -> None:
    client = AuthenticatedClient(base_url=base_url, token=token)
    scheduled = datetime.datetime(2026, 8, 5, 14, 30, tzinfo=datetime.timezone.utc)
    wanted = CreateBooking(guest_id="ben", title="Algebra", scheduled_at=scheduled, duration_minutes=45)
    created = create_booking.sync(client=client, body=wanted)
    assert isinstance(created, EnvelopeBooking), created
    listed = list_bookings.sync(client=client, status=BookingStatus.SCHEDULED, limit=5)
    assert isinstance(listed, EnvelopeVecBooking), listed
    stranger = AuthenticatedClient(base_url=base_url, token="wrong")
    refused = get_booking.sync(uuid.UUID(int=1), client=stranger)
    assert isinstance(refused, Problem), refused
    over = created.data.status in (BookingStatus.COMPLETED, BookingStatus.CANCELLED)
    print(json.dumps({
        "title": created.data.title, "over": over, "listed": len(listed.data), "refused": refused.code.value,
    }))


main(*sys.argv[1:])
