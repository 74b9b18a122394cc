"""What the pages say, in English and German. English is the key."""

from __future__ import annotations

LANGUAGES = {"en": "English", "de": "Deutsch"}

GERMAN = {
    "Measure": "Messen", "History": "Verlauf", "Charts": "Regelkarten", "Live": "Livebild",
    "Instrument": "Messgerät", "Plans": "Prüfpläne", "Part": "Teil", "Part type": "Teileart",
    "Operator": "Prüfer", "Batch": "Charge", "Start": "Start", "Stop": "Stopp",
    "none (measure only)": "keine (nur messen)",
    "Scan or type the part's name, then Enter": "Namen des Teils scannen oder tippen, dann Enter",
    "Ready": "Bereit", "waiting": "wartet", "capturing": "nimmt auf",
    "reconstructing": "rechnet", "done": "fertig", "stopping": "hält an",
    "good": "gut", "out of tolerance": "außer Toleranz", "in between": "nicht erwiesen",
    "not sufficient": "nicht messbar", "measured": "gemessen", "failed": "fehlgeschlagen",
    "stopped": "angehalten", "Waiting": "Warteschlange", "Nothing waits.": "Nichts wartet.",
    "Take out": "Herausnehmen", "Last results": "Letzte Ergebnisse", "Preview": "Vorschau",
    "The picture taken last": "Zuletzt aufgenommenes Bild", "Result": "Ergebnis",
    "Feature": "Merkmal", "Value": "Wert", "Limits": "Grenzen", "Verdict": "Urteil",
    "Where": "Ort", "Height": "Höhe", "Deviation": "Abweichung", "Uncertainty": "Unsicherheit",
    "3-D and report": "3D und Bericht", "Open the report": "Bericht öffnen",
    "Measured at": "Gemessen am", "Search": "Suchen", "From": "Von", "To": "Bis", "all": "alle",
    "Filter": "Filtern", "result": "Ergebnis", "results": "Ergebnisse",
    "Newer": "Neuere", "Older": "Ältere",
    "No result was found.": "Kein Ergebnis gefunden.", "Compare": "Vergleichen",
    "Compare with": "Vergleichen mit", "All runs of this part": "Alle Läufe dieses Teils",
    "Export as CSV": "Als CSV ausgeben", "Export as Q-DAS": "Als Q-DAS ausgeben",
    "Notes": "Hinweise", "Figures": "Kennwerte", "Plan": "Prüfplan", "Content": "Inhalt",
    "Calibration": "Kalibrierung", "Last check": "Letzte Prüfung", "Certificates": "Zertifikate",
    "days old": "Tage alt", "never": "nie", "none": "keine", "Sign in": "Anmelden",
    "Token": "Schlüssel", "This token is not known.": "Dieser Schlüssel ist nicht bekannt.",
    "Sign out": "Abmelden", "Language": "Sprache", "Difference": "Unterschied",
    "First run": "Erster Lauf", "Second run": "Zweiter Lauf", "Change": "Änderung",
    "Aim, focus and expose": "Ausrichten, scharf stellen, belichten",
    "at a quick look; the verdict follows": "auf den ersten Blick; das Ergebnis folgt",
    "Picture": "Bild", "clipped": "übersteuert", "brightest": "hellster Wert", "mean": "Mittel",
    "focus": "Schärfe", "best focus yet": "größte Schärfe", "frames": "Bilder",
    "Keep this exposure": "Diese Belichtung behalten",
    "Forget best focus": "Größte Schärfe vergessen", "Exposure": "Belichtung", "level": "Stufe",
    "Histogram (logarithmic)": "Histogramm (logarithmisch)", "live picture": "Livebild",
    "To the content": "Zum Inhalt", "Main navigation": "Hauptnavigation",
    "Individual values": "Einzelwerte", "Moving range": "Gleitende Spannweite",
    "Means of subgroups": "Mittelwerte der Stichproben", "Ranges": "Spannweiten",
    "Signals": "Signale",
    "No signal: the process is stable.": "Kein Signal: der Prozess ist stabil.",
    "Too few values yet.": "Noch zu wenige Werte.", "is old": "ist alt",
    "Pictures": "Bilder", "unfinished": "unvollendet", "Text": "Text", "Rule": "Regel",
    "Unfinished recordings": "Unvollendete Aufnahmen",
    "Only the engineer may do that.": "Das darf nur der Ingenieur.",
    "Escape stops the measurement.": "Escape hält die Messung an.",
    "The connection to the rig is lost.": "Die Verbindung zum Messgerät ist unterbrochen.",
    "Number": "Nummer", "Method": "Verfahren", "Version": "Version",
    "Value and limits": "Wert und Grenzen",
    "Place": "Ort", "Reason": "Grund", "Maps": "Karten", "Failed features": "Fehlerhafte Merkmale",
    "Notes are kept.": "Notizen sind gesichert.",
    "Notes could not be kept.": "Notizen konnten nicht gesichert werden.",
    "stopped; the lights are off": "angehalten; die Lichter sind aus",
    "Share measured, %": "Gemessener Anteil, %", "Mean height, mm": "Mittlere Höhe, mm",
    "Lowest to highest, mm": "Tiefster bis höchster Punkt, mm",
    "Uncertainty, median, mm": "Unsicherheit, Median, mm",
    "step": "Stufe", "flatness": "Ebenheit", "roughness": "Rauheit", "distance": "Abstand",
    "angle": "Winkel", "radius": "Radius", "bore": "Bohrung", "deviation": "Abweichung",
    "defects": "Fehler", "plugin": "Erweiterung",
    "Not found": "Nicht gefunden", "Back": "Zurück",
}  # fmt: skip


# What the figures of a run are called.
FIGURES = {
    "measured_percent": "Share measured, %", "mean_height_mm": "Mean height, mm",
    "height_range_mm": "Lowest to highest, mm", "sigma_median_mm": "Uncertainty, median, mm",
}  # fmt: skip


def translated(language: str, text: str) -> str:
    """The text in that language; unknown texts stay as they are."""
    return GERMAN.get(text, text) if language == "de" else text


def language_of(cookie: str | None, accepted: str | None) -> str:
    """The language chosen, or the first that the browser accepts and we know."""
    if cookie in LANGUAGES:
        return str(cookie)
    for part in (accepted or "").split(","):
        code = part.split(";")[0].strip()[:2].lower()
        if code in LANGUAGES:
            return code
    return "en"
