//! The icons of the dashboard: our own, 16 by 16, drawn in the colour of the text.

/// An icon as SVG, which says nothing to a screen reader: words stand beside it.
///
/// # Panics
/// There is no such icon, which a test of any page sees.
pub(in crate::ui) fn icon(name: &str) -> String {
    let found = ICONS.iter().find(|(given, _)| *given == name);
    let paths = found.unwrap_or_else(|| panic!("there is no icon {name}")).1;
    format!(
        r#"<svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{paths}</svg>"#
    )
}

const ICONS: &[(&str, &str)] = &[
    ("home", r#"<path d="M2.5 7.2 8 2.5l5.5 4.7v6.3h-3.8V9.8H6.3v3.7H2.5z"/>"#),
    (
        "users",
        r#"<circle cx="6" cy="5.2" r="2.5"/><path d="M1.5 13.5c.3-2.6 2-4 4.5-4s4.200 1.400 4.500 4M10.800 2.900a2.400 2.400 0 0 1 0 4.600M12 9.800c1.500.5 2.300 1.800 2.500 3.700"/>"#,
    ),
    (
        "mail",
        r#"<rect x="1.800" y="3.200" width="12.400" height="9.600" rx="1.500"/><path d="m2.300 4.500 5.700 4.300 5.700-4.300"/>"#,
    ),
    (
        "key",
        r#"<circle cx="5.200" cy="10.800" r="2.900"/><path d="m7.300 8.700 6-6M11 5l2 2M9.200 6.800l1.400 1.400"/>"#,
    ),
    (
        "webhook",
        r#"<circle cx="8" cy="4.200" r="2"/><circle cx="3.800" cy="11.500" r="2"/><circle cx="12.200" cy="11.500" r="2"/><path d="m7 6-2.200 3.800M9 6l2.200 3.800M5.800 11.500h4.400"/>"#,
    ),
    ("import", r#"<path d="M8 2v7.200M5 6.300l3 3 3-3M2.500 10.500v3h11v-3"/>"#),
    ("request", r#"<path d="M2 5h9.500M9 2.500 11.500 5 9 7.500M14 11H4.500M7 8.500 4.500 11 7 13.500"/>"#),
    ("audit", r#"<path d="M3.500 1.800h6l3 3v9.400h-9zM9.500 1.800v3h3M5.800 8h4.400M5.800 10.800h4.400"/>"#),
    (
        "settings",
        r#"<path d="M2 4.500h6.500M12 4.500h2M2 11.500h2M7.500 11.500H14"/><circle cx="10.200" cy="4.500" r="1.700"/><circle cx="5.800" cy="11.500" r="1.700"/>"#,
    ),
    (
        "shield",
        r#"<path d="M8 1.800 2.800 3.800v4c0 3 2.200 5.300 5.200 6.400 3-1.100 5.200-3.400 5.200-6.400v-4zM5.800 8l1.600 1.600 2.900-3.100"/>"#,
    ),
    ("search", r#"<circle cx="7" cy="7" r="4.500"/><path d="m10.300 10.300 3.700 3.700"/>"#),
    ("chevron", r#"<path d="m4.500 6.300 3.500 3.500 3.500-3.500"/>"#),
    ("switch", r#"<path d="m5 6 3-3 3 3M5 10l3 3 3-3"/>"#),
    ("check", r#"<path d="m3 8.500 3.300 3.300L13 5"/>"#),
    ("alert", r#"<path d="M8 2 1.700 13.300h12.600zM8 6.500v3M8 11.500v.1"/>"#),
    (
        "sun",
        r#"<circle cx="8" cy="8" r="2.700"/><path d="M8 1.500v1.200M8 13.300v1.200M1.500 8h1.200M13.300 8h1.200M3.400 3.400l.9.9M11.700 11.700l.9.9M12.600 3.400l-.9.9M4.300 11.700l-.9.9"/>"#,
    ),
    ("moon", r#"<path d="M13.300 9.600A5.600 5.600 0 0 1 6.400 2.700a5.600 5.600 0 1 0 6.900 6.900z"/>"#),
    ("system", r#"<rect x="1.800" y="2.800" width="12.400" height="8.200" rx="1.200"/><path d="M5.500 13.500h5"/>"#),
    ("leave", r#"<path d="M6 2.500H2.800v11H6M10.500 5l3 3-3 3M13.200 8H6"/>"#),
    ("command", r#"<path d="m2.500 4 3.500 4-3.500 4M7.500 12h6"/>"#),
    (
        "copy",
        r#"<rect x="5.500" y="5.500" width="8" height="8" rx="1.300"/><path d="M3.300 10.500c-.5 0-.8-.4-.8-.800V3.300c0-.5.300-.8.800-.8h6.400c.5 0 .8.300.8.800"/>"#,
    ),
];
