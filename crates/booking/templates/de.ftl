# Die Texte der E-Mails auf Deutsch. en.ftl hat dieselben Einträge.

when = { $moment } Uhr ({ $zone })
duration =
    { $minutes ->
        [one] { $minutes } Minute
       *[other] { $minutes } Minuten
    }
meeting =
    { $title }
    { $when }, { $duration }

join = An der Besprechung teilnehmen
calendar-file = Kalenderdatei

booking-created = Sie haben einen neuen Termin mit { $other }.
    .subject = Gebucht: { $title }, { $when }
booking-moved = Ihr Termin mit { $other } hat eine neue Zeit.
    .subject = Verschoben: { $title }, { $when }
booking-resized = Ihr Termin mit { $other } hat eine neue Dauer.
    .subject = Geändert: { $title }, { $when }
booking-changed = Ihr Termin mit { $other } wurde geändert.
    .subject = Geändert: { $title }, { $when }
booking-cancelled = Ihr Termin mit { $other } wurde abgesagt.
    .subject = Abgesagt: { $title }, { $when }
reminder = Ihr Termin mit { $other } beginnt bald.
    .subject = Bald: { $title }, { $when }

previous-start = Bisher: { $when }
previous-duration = Bisher: { $duration }
previous-title = Bisheriger Titel: { $title }
new-description = Neue Beschreibung: { $description }
no-description = Die Beschreibung wurde entfernt.
previous-description = Bisherige Beschreibung: { $description }
cancel-reason = Grund: { $reason }

room-failed = Der Raum des Termins „{ $title }“ konnte nicht sofort angelegt werden ({ $code }).
    .subject = Noch kein Raum: { $title }
    .meeting = { $host } mit { $guest }, { $when }, { $duration }
    .hint = Greenroom versucht es von selbst wieder. Wenn das so bleibt, prüfen Sie bitte den Videoserver.

mail-undeliverable =
    { $kind ->
        [booking_created] Die Einladung
        [booking_rescheduled] Die neue Zeit
        [booking_changed] Die Änderung
        [booking_cancelled] Die Absage
        [reminder] Eine Erinnerung
        [recording_ready] Die Nachricht über die Aufzeichnung
       *[other] Eine E-Mail
    } zu „{ $title }“ konnte Ihrem Gast nicht per E-Mail zugestellt werden.
    .subject = Gast nicht erreicht: { $title }
    .hint = Bitte wenden Sie sich auf anderem Weg an Ihren Gast.

recording-ready = Die Aufzeichnung von „{ $title }“ ist fertig.
    .subject = Aufzeichnung fertig: { $title }
recording-failed = Die Aufzeichnung von „{ $title }“ ist fehlgeschlagen. Es gibt keine Datei.
    .subject = Aufzeichnung fehlgeschlagen: { $title }
    .hint = Solange die Besprechung läuft, können Sie eine weitere Aufzeichnung starten.
untitled = Ihr Termin
