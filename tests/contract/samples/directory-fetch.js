try {
// call userdocks user management API
const response = await fetch('https://api.userdocks.com/v1/users/:userId', {
method: 'POST',
headers: {
// 'Authorization': String, // when accessed from the client e.g. `Bearer ${accessToken}`
'X-API-KEY': String,
'X-CLIENT-ID': String,
'X-API-KEY-TYPE': 'write',
'Content-Type': 'application/json',
},
body: JSON.stringify({
user: {
id: String,
language": String,
salutation": String,
salutationOther": String,
acceptedNewsletter": Boolean,
name: String,
// open id fields use snake case
given_name: String,
family_name: String,
middle_name: String,
nickname: String,
preferred_username: String,
profile: String,
picture: String,
website: String,
email: String,
gender: String,
other_gender: String,
birthdate: String,
zoneinfo: String,
locale: String,
phone_number: String,
freezed: Boolean,
deleted: Boolean,
tenantId: Boolean
}
}),
});
const { data } = await response.json();
// do something with the data
} catch (err) {
console.error(err);
// handle error
}
