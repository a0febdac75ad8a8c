# The texts of e-mails in English. Each kind has a subject and the first sentence. de.ftl has the same messages.

when = { $moment } ({ $zone })
duration =
    { $minutes ->
        [one] { $minutes } minute
       *[other] { $minutes } minutes
    }
meeting =
    { $title }
    { $when }, { $duration }

join = Join the meeting
calendar-file = Calendar file

booking-created = You have a new booking with { $other }.
    .subject = Booked: { $title }, { $when }
booking-moved = Your booking with { $other } has a new time.
    .subject = Moved: { $title }, { $when }
booking-resized = Your booking with { $other } has a new duration.
    .subject = Changed: { $title }, { $when }
booking-changed = Your booking with { $other } was changed.
    .subject = Changed: { $title }, { $when }
booking-cancelled = Your booking with { $other } was cancelled.
    .subject = Cancelled: { $title }, { $when }
reminder = Your meeting with { $other } is coming up.
    .subject = Soon: { $title }, { $when }

previous-start = Before: { $when }
previous-duration = Before: { $duration }
previous-title = Title before: { $title }
new-description = New description: { $description }
no-description = The description was removed.
previous-description = Description before: { $description }
cancel-reason = Reason: { $reason }

room-failed = The room of the booking “{ $title }” could not be created immediately ({ $code }).
    .subject = No room yet: { $title }
    .meeting = { $host } with { $guest }, { $when }, { $duration }
    .hint = Greenroom retries automatically. If this continues, check the video server.

mail-undeliverable =
    { $kind ->
        [booking_created] The invitation
        [booking_rescheduled] The new time
        [booking_changed] The change
        [booking_cancelled] The cancellation
        [reminder] A reminder
        [recording_ready] The notification about the recording
       *[other] An e-mail
    } for “{ $title }” could not be delivered to your guest by e-mail.
    .subject = Guest not reached: { $title }
    .hint = Please contact your guest in another way.

recording-ready = The recording of “{ $title }” is ready.
    .subject = Recording ready: { $title }
recording-failed = The recording of “{ $title }” failed. There is no file.
    .subject = Recording failed: { $title }
    .hint = While the meeting is on, you can start another recording.
untitled = your meeting
