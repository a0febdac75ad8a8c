"""One participant with LiveKit's Python SDK: tests of livekit-dev drive it line by line, `make call` uses the class.

As a program it reads one command per line of standard input and writes one answer per line, in order:

    {"call": "join", "with": {…}}  →  {"answer": …} or {"error": "…"}

`call` is a public method of `Participant`. The end of standard input ends the process.
"""

import asyncio
import json
import math
import os
import struct
import sys

from livekit import rtc

TIMEOUT_S = 90
POLL_S = 0.1

WIDTH, HEIGHT, FRAME_S = 320, 180, 1 / 15
RATE, PITCH_HZ, AMPLITUDE, BLOCK = 48_000, 440, 8_000, 480
AUDIBLE = AMPLITUDE // 4

SOURCES = {
    rtc.TrackSource.SOURCE_CAMERA: "camera",
    rtc.TrackSource.SOURCE_MICROPHONE: "microphone",
    rtc.TrackSource.SOURCE_SCREENSHARE: "screen_share",
}


class Participant:
    def __init__(self) -> None:
        self.room = rtc.Room()
        self.received: dict[tuple[str, str], int] = {}
        self.messages: list[dict[str, str]] = []
        self.speakers: list[str] = []
        self.disconnected: int | None = None
        self.published: dict[str, rtc.LocalTrack] = {}
        self.tasks: list[asyncio.Task] = []
        self._listen()

    async def join(self, url: str, token: str, single: bool = True) -> str:
        self.disconnected = None
        await self.room.connect(url, token, rtc.RoomOptions(single_peer_connection=single))
        return self.room.local_participant.sid

    async def publish(self) -> None:
        """Publishes a camera of changing colour and a microphone with a tone of 440 Hz."""
        picture, sound = rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(RATE, 1)
        tracks = {
            "camera": rtc.LocalVideoTrack.create_video_track("camera", picture),
            "microphone": rtc.LocalAudioTrack.create_audio_track("microphone", sound),
        }
        sources = {name: source for source, name in SOURCES.items()}
        for name, track in tracks.items():
            options = rtc.TrackPublishOptions(source=sources[name])
            await self.room.local_participant.publish_track(track, options)
        self.published = tracks
        self._run(self._show(picture))
        self._run(self._play(sound))

    async def arrives(self, identity: str, source: str) -> None:
        """Waits until new frames arrive; of a sound, audible ones."""
        before = self.received.get((identity, source), 0)
        await self._eventually(lambda: self.received.get((identity, source), 0) > before)

    async def send(self, text: str) -> None:
        await self.room.local_participant.publish_data(text.encode(), reliable=True)

    async def hears(self, text: str) -> list[dict[str, str]]:
        await self._eventually(lambda: any(message["text"] == text for message in self.messages))
        return self.messages

    async def speaks(self, identity: str, active: bool) -> None:
        await self._eventually(lambda: (identity in self.speakers) == active)

    async def mute(self, source: str, muted: bool = True) -> None:
        track = self.published[source]
        track.mute() if muted else track.unmute()

    async def ends(self) -> str:
        """Waits until the server has ended the session. Returns the name of the reason."""
        await self._eventually(lambda: self.disconnected is not None)
        return rtc.DisconnectReason.Name(self.disconnected)

    async def sees(self, identity: str, present: bool) -> None:
        await self._eventually(lambda: (identity in self.room.remote_participants) == present)

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.room.disconnect()

    def _listen(self) -> None:
        room = self.room
        room.on("track_subscribed", lambda *subscribed: self._run(self._count(*subscribed)))
        room.on("data_received", self._hear)
        room.on("active_speakers_changed", self._notice_speakers)
        room.on("disconnected", self._end)

    def _hear(self, packet: rtc.DataPacket) -> None:
        sender = packet.participant.identity if packet.participant else ""
        self.messages.append({"from": sender, "text": packet.data.decode()})

    def _notice_speakers(self, speakers: list[rtc.Participant]) -> None:
        self.speakers = [speaker.identity for speaker in speakers]

    def _end(self, reason: int) -> None:
        self.disconnected = reason

    async def _count(self, track: rtc.Track, publication: rtc.TrackPublication, sender: rtc.Participant) -> None:
        key = (sender.identity, SOURCES.get(publication.source, "unknown"))
        video = track.kind == rtc.TrackKind.KIND_VIDEO
        async for event in rtc.VideoStream(track) if video else rtc.AudioStream(track):
            if video or max(event.frame.data, default=0) > AUDIBLE:
                self.received[key] = self.received.get(key, 0) + 1

    async def _show(self, picture: rtc.VideoSource) -> None:
        shade = 0
        while True:
            shade = (shade + 5) % 256
            pixels = bytes([shade]) * (WIDTH * HEIGHT * 4)
            picture.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, pixels))
            await asyncio.sleep(FRAME_S)

    async def _play(self, sound: rtc.AudioSource) -> None:
        # One block is a whole number of tenths of a wave: ten of them repeat.
        wave = [int(AMPLITUDE * math.sin(2 * math.pi * PITCH_HZ * n / RATE)) for n in range(BLOCK * 10)]
        while True:
            for start in range(0, len(wave), BLOCK):
                block = struct.pack(f"<{BLOCK}h", *wave[start : start + BLOCK])
                await sound.capture_frame(rtc.AudioFrame(block, RATE, 1, BLOCK))

    def _run(self, work) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def _eventually(self, holds) -> None:
        end = asyncio.get_running_loop().time() + TIMEOUT_S
        while not holds():
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"not within {TIMEOUT_S} s; observed: {self._state()}")
            await asyncio.sleep(POLL_S)

    def _state(self) -> dict:
        received = {" ".join(key): count for key, count in self.received.items()}
        participants = list(self.room.remote_participants)
        return {"received": received, "messages": self.messages, "speakers": self.speakers, "participants": participants,
                "disconnected": self.disconnected}


async def answer(participant: Participant, line: str) -> dict:
    command = json.loads(line)
    name = command["call"]
    try:
        if name.startswith("_"):
            raise ValueError(f"{name} is not public")
        return {"answer": await getattr(participant, name)(**command.get("with") or {})}
    except Exception as error:
        return {"error": f"{name}: {type(error).__name__}: {error}"}


async def main() -> None:
    participant = Participant()
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await answer(participant, line)), flush=True)
    os._exit(0)  # the SDK's threads would keep the process running


if __name__ == "__main__":
    asyncio.run(main())
