const axios = require('axios');
const res = await axios({
url: 'https://partners.ftmtapi.com/users/update',
method: 'post',
data: {
email: 'jane@doe.com',
glp1drugs: false,
diabetes: 1,
doctorFullname: 'Dr. House',
medicalClearanceDescription: "Your medical clearance description",
},
headers: {
Authorization: 'Bearer <YOUR_API_KEY>',
'Fitmate-Version': '2023-08-22',
}
});