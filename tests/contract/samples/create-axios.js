const axios = require('axios');
const res = await axios({
url: 'https://partners.ftmtapi.com/users/create',
method: 'post',
data: {
email: 'jane@doe.com',
firstname: 'jane',
lastname: 'doe',
phonenumber: '1234567890',
dateOfBirth: '1990-12-23',
gender: 'female',
height: '5ft 6in',
weight: 130,
pregnant: false,
diabetes: 0,
glp1drugs: false,
paymentPlan: 1,
planStartDate: '2023-10-30',
medicalClearance: "full",
medicalClearanceDescription: "Yes, provided medical clearance",
currentWeight: 130,
desiredWeight: 110,
allergies: "no allergies",
nutritionPreferences: "vegan, gluten free",
religiousDietaryRestrictions: "no pork",
doctorFullname: "Dr. Mike Smith",
metadata: {
glp1Dosage: '10mg',
}
},
headers: {
Authorization: 'Bearer <YOUR_API_KEY>',
'Fitmate-Version': '2023-10-04',
}
});
