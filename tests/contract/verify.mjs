// Verifies webhooks: one JSON object a line in, one word a line out. HMAC with the reference library, Ed25519, which
// that library leaves out, with Node's own crypto by the specification.
import crypto from "node:crypto";
import readline from "node:readline";
import { Webhook } from "standardwebhooks";

const spki = Buffer.from("302a300506032b6570032100", "hex");

function asymmetric({ publicKey, headers, body }) {
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64");
  const key = crypto.createPublicKey({ key: Buffer.concat([spki, raw]), format: "der", type: "spki" });
  const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  const fits = (one) => crypto.verify(null, Buffer.from(text), key, Buffer.from(one.slice(4), "base64"));
  if (!signatures.some(fits)) throw new Error("no matching signature");
  return JSON.parse(body);
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  try {
    const verified = message.publicKey
      ? asymmetric(message)
      : new Webhook(message.secret).verify(message.body, message.headers);
    console.log(verified.type);
  } catch (refused) {
    console.log(`refused: ${refused.message}`);
  }
}
