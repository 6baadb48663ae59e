const payload = {
email: 'jane@doe.com',
glp1drugs: true,
diabetes: 0,
doctorFullname: 'Dr. House',
medicalClearanceDescription: "Your medical clearance description",
metadata: {
key: 'value',
...
}
