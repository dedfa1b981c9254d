// The stock web provider against the gateway: first values, then a change heard over the stream, printed as JSON lines.
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { EventSource } from "eventsource";

globalThis.EventSource = EventSource;
const memory = new Map();
globalThis.localStorage ??= {
  getItem: (key) => memory.get(key) ?? null,
  setItem: (key, value) => memory.set(key, String(value)),
  removeItem: (key) => memory.delete(key),
};
const [base, key, seconds] = process.argv.slice(2);
const say = (event) => console.log(JSON.stringify(event));

const provider = new OFREPWebProvider({ baseUrl: base, headers: [["Authorization", `Bearer ${key}`]] });
const client = OpenFeature.getClient();
const read = () => ({
  litert: client.getBooleanDetails("litert_enabled", false),
  threshold: client.getNumberValue("litert_switching_threshold", -1),
  fallback: client.getBooleanValue("ai_fallback_to_cloud", false),
});
client.addHandler(ProviderEvents.ConfigurationChanged, () => {
  const now = read();
  say({ event: "changed", litert: now.litert.value, variant: now.litert.variant, fallback: now.fallback });
});
await OpenFeature.setProviderAndWait(provider, { targetingKey: "stock-web-device" });
const first = read();
say({ event: "ready", litert: first.litert.value, variant: first.litert.variant, reason: first.litert.reason, threshold: first.threshold, fallback: first.fallback });
setTimeout(async () => { await OpenFeature.close(); process.exit(0); }, Number(seconds) * 1000);
