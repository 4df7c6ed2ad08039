// What passes between a widget and its kernel, with the page's own clock: installed before
// JupyterLab loads, so that the console under measurement is not asked about itself. Times are
// milliseconds of performance.now().
(() => {
  const probe = (window.labkitProbe = { keys: [], sent: [], received: [], draws: [] });
  const text = new TextDecoder();

  // Jupyter's v1 wire format: a count of offsets, the offsets (64 bits each), then channel, header,
  // parent, metadata, content and buffers between them.
  function customMessage(data) {
    if (!(data instanceof ArrayBuffer)) return null;
    const view = new DataView(data);
    const offset = (index) => Number(view.getBigUint64(8 * (index + 1), true));
    const part = (index) => text.decode(data.slice(offset(index), offset(index + 1)));
    if (!part(1).includes('"comm_msg"')) return null;
    const body = JSON.parse(part(4)).data;
    return body?.method === "custom" ? body.content : null;
  }

  function note(list, data) {
    const content = customMessage(data);
    if (content)
      list.push({ at: performance.now(), bytes: data.byteLength, content: brief(content) });
  }

  // Ten minutes of messages would fill the page: of a list its length is kept, of an object
  // nothing.
  function brief(content) {
    const kept = Object.entries(content).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.length : value,
    ]);
    return Object.fromEntries(kept.filter(([, value]) => typeof value !== "object"));
  }

  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener("message", (event) => note(probe.received, event.data));
    }
    send(data) {
      note(probe.sent, data.buffer ?? data);
      super.send(data);
    }
  };

  window.addEventListener(
    "keydown",
    (event) => probe.keys.push({ at: event.timeStamp, key: event.key }),
    true,
  );

  // A frame is the moment at which the chart of the loss is cleared, to be drawn anew.
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    if (this.canvas.dataset.labkit === "chart-loss") probe.draws.push(performance.now());
    return clear.apply(this, args);
  };
})();
