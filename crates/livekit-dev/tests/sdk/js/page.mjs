// The fixture page: one participant with livekit-client. drive.mjs calls these functions. Each waits for at most
// TIMEOUT_MS and then reports the actual state.
import { ConnectionState, Room, RoomEvent, RpcError, Track } from 'livekit-client';

const TIMEOUT_MS = 90_000;
const POLL_MS = 100;

let room;
const events = [];
const messages = [];

/** All events that a test may wait for, and what each is about. */
const ABOUT = {
  [RoomEvent.ParticipantConnected]: (participant) => participant.identity,
  [RoomEvent.ParticipantDisconnected]: (participant) => participant.identity,
  [RoomEvent.TrackSubscribed]: (_track, publication) => publication.source,
  [RoomEvent.TrackUnsubscribed]: (_track, publication) => publication.source,
  [RoomEvent.TrackUnpublished]: (publication) => publication.source,
  [RoomEvent.TrackMuted]: (publication) => publication.source,
  [RoomEvent.TrackUnmuted]: (publication) => publication.source,
  [RoomEvent.LocalTrackPublished]: (publication) => publication.source,
  [RoomEvent.LocalTrackUnpublished]: (publication) => publication.source,
  [RoomEvent.SignalReconnecting]: () => '',
  [RoomEvent.Reconnecting]: () => '',
  [RoomEvent.Reconnected]: () => '',
  [RoomEvent.Disconnected]: (reason) => String(reason),
};

const sleep = (ms) => new Promise((woken) => setTimeout(woken, ms));

/** Waits until `check` returns a value; `instead` describes the actual state. */
async function eventually(check, instead) {
  const end = Date.now() + TIMEOUT_MS;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) {
      throw new Error(`not within ${TIMEOUT_MS / 1000} s; observed: ${JSON.stringify(await instead())}`);
    }
    await sleep(POLL_MS);
  }
}

function listen() {
  for (const [name, about] of Object.entries(ABOUT)) {
    room.on(name, (...details) => events.push([name, about(...details)]));
  }
  room.on(RoomEvent.TrackSubscribed, (track) => document.body.append(track.attach()));
  room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
  room.on(RoomEvent.DataReceived, (data, sender) =>
    messages.push({ from: sender?.identity ?? '', text: new TextDecoder().decode(data) }));
  room.registerTextStreamHandler('lk.chat', async (reader, sender) =>
    messages.push({ from: sender.identity, text: await reader.readAll() }));
  room.registerByteStreamHandler('files', async (reader, sender) => {
    const bytes = new Uint8Array(await new Blob(await reader.readAll()).arrayBuffer());
    messages.push({ from: sender.identity, text: described(reader.info.name, bytes) });
  });
}

/** The compared parts of a file. */
function described(name, bytes) {
  const sum = bytes.reduce((sum, byte, at) => (sum * 31 + byte + at) % 1_000_003, 0);
  return `${name} of ${bytes.length} bytes with sum ${sum}`;
}

const publications = (identity) => [...(room.remoteParticipants.get(identity)?.trackPublications.values() ?? [])];

/** What has arrived of a track: packets, frames, and the energy of its sound. Nothing while it is not subscribed. */
async function received({ identity, source }) {
  const track = publications(identity).find((publication) => publication.source === source)?.track;
  for (const entry of (await track?.getRTCStatsReport())?.values() ?? []) {
    if (entry.type !== 'inbound-rtp') continue;
    return { packets: entry.packetsReceived, frames: entry.framesDecoded ?? 0, energy: entry.totalAudioEnergy ?? 0 };
  }
  return undefined;
}

/** What the browser produced and sent of its own track. */
async function sent(publication) {
  const stats = [...((await publication.track?.getRTCStatsReport())?.values() ?? [])];
  const of = (type) => stats.find((entry) => entry.type === type);
  return [publication.source, of('media-source')?.frames ?? null, of('outbound-rtp')?.packetsSent ?? null];
}

/** The state of this participant, for error messages. */
const state = async () => ({
  state: room?.state,
  events,
  sent: await Promise.all([...(room?.localParticipant.trackPublications.values() ?? [])].map(sent)),
  participants: [...(room?.remoteParticipants.values() ?? [])].map((participant) => [
    participant.identity,
    publications(participant.identity).map((publication) => `${publication.source} ${publication.subscriptionStatus}`),
  ]),
});

const NOTHING = { packets: 0, frames: 0, energy: 0 };

/** Waits until one of these numbers of a track is larger than at the call. */
async function grows(what, numbers) {
  const now = async () => (await received(what)) ?? NOTHING;
  let start = await now();
  await eventually(
    async () => {
      const current = await now();
      // A track that was published again counts from 0.
      if (numbers.some((number) => current[number] < start[number])) start = current;
      return numbers.some((number) => current[number] > start[number]);
    },
    async () => [what, await received(what), await state()],
  );
}

/** Waits until more frames of a picture are decoded, or more sound is received. */
const arrives = (what) => grows(what, ['frames', 'energy']);

const ofAll = (identities, wait) =>
  Promise.all(
    identities.flatMap((identity) => ['camera', 'microphone'].map((source) => wait({ identity, source }))),
  ).then(() => null);

/**
 * Publishes a drawing as the camera. After a full reconnect livekit-client opens the camera again, and Chromium's fake
 * camera then gives no frame on a busy machine; a track of the application continues.
 */
async function publishDrawing() {
  const canvas = document.createElement('canvas');
  const pen = canvas.getContext('2d');
  let hue = 0;
  setInterval(() => {
    hue = (hue + 20) % 360;
    pen.fillStyle = `hsl(${hue} 80% 50%)`;
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }, 66);
  const [track] = canvas.captureStream(15).getVideoTracks();
  await room.localParticipant.publishTrack(track, { source: Track.Source.Camera });
}

window.fixture = {
  async join({ url, token, options }) {
    room = new Room({
      // Small pictures: tests ask whether there are frames, never how large they are.
      videoCaptureDefaults: { resolution: { width: 320, height: 180, frameRate: 15 } },
      ...options,
    });
    listen();
    // A busy machine may need longer than livekit-client waits.
    await room.connect(url, token, { peerConnectionTimeout: TIMEOUT_MS, websocketTimeout: TIMEOUT_MS });
  },

  /** Tries to join, and returns how the application learns that it was refused. */
  async attempt({ url, token, options }) {
    room = new Room(options);
    listen();
    const outcome = room.connect(url, token).then(
      () => ({ joined: true }),
      (error) => ({ name: error.name, reason: error.reason, status: error.status ?? null }),
    );
    const endless = sleep(TIMEOUT_MS).then(() => ({ name: 'still trying' }));
    return { ...(await Promise.race([outcome, endless])), events };
  },

  sid: async () => eventually(() => room.localParticipant.sid || undefined, state),

  /** Waits until the participant has joined again with another session than this one. Returns its SID. */
  joinsAgain: async (before) =>
    eventually(() => {
      const { sid } = room.localParticipant;
      return room.state === ConnectionState.Connected && sid && sid !== before ? sid : undefined;
    }, state),

  /** Turns sources on and off: `{camera: true, microphone: false}`. A drawing replaces the camera. */
  async publish({ camera, microphone, screen, drawing }) {
    if (drawing) await publishDrawing();
    if (camera !== undefined) await room.localParticipant.setCameraEnabled(camera);
    if (microphone !== undefined) await room.localParticipant.setMicrophoneEnabled(microphone);
    if (screen !== undefined) await room.localParticipant.setScreenShareEnabled(screen, { audio: true });
  },

  arrives,

  allArrive: (identities) => ofAll(identities, arrives),

  /** Packets only: after a full reconnect Chromium sometimes does not play a sound, with the real server too. */
  allFlow: (identities) => ofAll(identities, (what) => grows(what, ['packets'])),

  /** Waits until no packets of one track arrive for 2 s while packets of another one arrive. */
  async stops({ identity, source, beside }) {
    const both = async () => [
      (await received({ identity, source }))?.packets ?? 0,
      (await received({ identity, source: beside }))?.packets ?? 0,
    ];
    await eventually(
      async () => {
        const [before, besideBefore] = await both();
        await sleep(2000);
        const [after, besideAfter] = await both();
        return after === before && besideAfter > besideBefore;
      },
      async () => [await both(), await state()],
    );
  },

  /** Waits until an event has happened `times` times (by default once), optionally only events about `about`. */
  async happens({ event, about, times = 1 }) {
    const matching = () => events.filter(([name, what]) => name === event && (about === undefined || what === about));
    return eventually(() => (matching().length >= times ? matching().map(([, what]) => what) : undefined), state);
  },

  events: async () => events,

  /** Waits until nothing of this source is published by the participant. */
  async gone({ identity, source }) {
    await eventually(() => !publications(identity).some((publication) => publication.source === source), state);
  },

  /** Shows or hides all pictures. */
  async show(visible) {
    for (const video of document.querySelectorAll('video')) video.style.display = visible ? '' : 'none';
  },

  /** Waits until the participant may, or may not, publish. */
  async mayPublish(expected) {
    await eventually(() => room.localParticipant.permissions?.canPublish === expected, state);
  },

  simulate: async (scenario) => {
    await room.simulateScenario(scenario);
  },

  chat: async (text) => {
    await room.localParticipant.sendText(text, { topic: 'lk.chat' });
  },

  /** Sends a file of this size. Returns the description that the others will report. */
  async sendFile(size) {
    const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 7) % 251);
    await room.localParticipant.sendFile(new File([bytes], 'file'), { topic: 'files' });
    return described('file', bytes);
  },

  /** Answers calls of `echo` with the caller and the payload, and never answers calls of `never`. */
  async answerCalls() {
    room.registerRpcMethod('echo', async (call) => `${call.callerIdentity}: ${call.payload}`);
    room.registerRpcMethod('refuse', async () => {
      throw new RpcError(2000, 'refused');
    });
    room.registerRpcMethod('never', () => new Promise(() => {}));
  },

  /** Calls a method of another participant. Returns the answer, or the code of the error. */
  performRpc: (call) =>
    room.localParticipant.performRpc(call).then(
      (answer) => ({ answer }),
      (error) => ({ code: error.code ?? error.message }),
    ),

  send: async (text) => room.localParticipant.publishData(new TextEncoder().encode(text), { reliable: true }),

  /** Waits for a message. Returns all messages so far. */
  hears: async (text) =>
    eventually(
      () => (messages.some((message) => message.text === text) ? messages : undefined),
      async () => [messages, await state()],
    ),

  /** Waits until the participant is, or is not, among the active speakers. */
  async speaks({ identity, active }) {
    const speakers = () => room.activeSpeakers.map((participant) => participant.identity);
    await eventually(() => speakers().includes(identity) === active || undefined, async () => [speakers(), await state()]);
  },
};
