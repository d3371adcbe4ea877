"""A demonstration: people, applications and a week of what they did, so that whoever tries the
service sees a console that lives. What belongs to it is marked, and can be taken away whole."""
