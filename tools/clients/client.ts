// Calls a gateway with the client that openapi-typescript generates. Run by crates/gateway/tests/it/clients.rs:
//   node client.js <base URL> <token>
// Most of this test is its compilation: closed sets must be unions, and refusals must be typed.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Booking = components["schemas"]["Booking"];
type ErrorCode = components["schemas"]["ErrorCode"];

const [baseUrl, token] = process.argv.slice(2);
if (!baseUrl || !token) throw new Error("usage: client.js <base URL> <token>");
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token}` } });

function isOver(booking: Booking): boolean {
  // @ts-expect-error `finished` is not a status of a booking
  if (booking.status === "finished") return true;
  return booking.status === "completed" || booking.status === "cancelled";
}

const created = await client.POST("/api/bookings", {
  body: { guestId: "ben", title: "Algebra", scheduledAt: "2026-08-05T14:30:00Z", durationMinutes: 45 },
});
if (created.error) throw new Error(JSON.stringify(created.error));
const booking: Booking = created.data.data;

const listed = await client.GET("/api/bookings", { params: { query: { status: "scheduled", limit: 5 } } });
if (listed.error) throw new Error(JSON.stringify(listed.error));

const refused = await client.GET("/api/bookings/{bookingId}", { params: { path: { bookingId: "not-a-uuid" } } });
if (!refused.error) throw new Error("an id that is not a UUID was accepted");
const code: ErrorCode = refused.error.code;

console.log(
  JSON.stringify({ title: booking.title, over: isOver(booking), listed: listed.data.data.length, refused: code }),
);
