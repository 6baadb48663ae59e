// What the scripts here share: where the server is, how to run the program beside it, and the seed's example person.
import { execFileSync } from "node:child_process";

const { SERVER_URL, API_KEY, CLIENT_ID, PROGRAM, DATA, DATABASE = "" } = process.env;

export const server = SERVER_URL;
export const key = API_KEY;
export const clientId = CLIENT_ID;

/** Runs `usher` with these arguments on the server's data and gives the JSON that it prints. */
export function usher(...args) {
  return JSON.parse(execFileSync(PROGRAM, [...args, "--json"], { env: { USHER_DATA: DATA, USHER_DATABASE: DATABASE } }));
}

/** An app of its own, so that what others did to Jane is not in the way. */
export function newApp() {
  const { clientId } = usher("app", "create", "Acme Coaching");
  return { clientId, key: newKey(clientId) };
}

export function newKey(clientId, { environment = "sandbox", access = "write", tenant } = {}) {
  const place = ["--app", clientId, "--environment", environment, "--access", access];
  return usher("key", "create", ...place, ...(tenant ? ["--tenant", tenant] : [])).key;
}

/** The headers of an app's server. */
export const triple = ({ clientId, key }, type = "write") => ({
  "X-API-KEY": key,
  "X-API-KEY-TYPE": type,
  "X-CLIENT-ID": clientId,
});

/** A small picture of an app. */
export const LOGO = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
  "base64",
);

export const jane = {
  email: "jane@doe.com",
  firstname: "jane",
  lastname: "doe",
  phonenumber: "1234567890",
  dateOfBirth: "1990-12-23",
  sex: "female",
  height: "5ft 6in",
  diabetes: 0,
  glp1drugs: false,
  paymentPlan: 1,
  planStartDate: "2023-10-30",
  medicalClearance: "full",
  currentWeight: 130,
};

/** Enrols a person and gives their id. */
export async function enrol(app, changes = {}) {
  const answer = await fetch(`${server}/users/create`, {
    method: "POST",
    headers: { Authorization: `Bearer ${app.key}` },
    body: JSON.stringify({ ...jane, ...changes }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(JSON.stringify(body));
  return body.identifier;
}
