package event

import "strings"

// What an incident is about that is about no target is said by its cause all the same: what is gathered has it in common.
// Targets may be called anything, also like that: what the incident is decides, its kind first.
const (
	// CauseNoTarget begins the cause of incidents about alerts that name no target: what they are called follows.
	CauseNoTarget = "alert/"
	similarTo     = "similar/"
	behindOf      = "behind/"
)

// ReasonExonerated: what was told as the cause is not it, or not any more; Cleared says which.
const ReasonExonerated = "cause-exonerated"

// CauseSimilar is the cause of an incident about similar alerts of a team on targets of a class.
func CauseSimilar(team, class string) string { return similarTo + apart(team) + "/" + class }

// CauseBehind is the cause of an incident about what a team has behind a target that is not its cause.
func CauseBehind(team, target string) string { return behindOf + apart(team) + "/" + target }

// Similar are the team and the class of which there are similar alerts; ok says whether that is what the incident is about.
func (i *Incident) Similar() (team, class string, ok bool) { return i.gathered(similarTo) }

// Behind are the team and the target behind which its alerts fire, each by itself; ok says whether that is what the
// incident is about.
func (i *Incident) Behind() (team, target string, ok bool) { return i.gathered(behindOf) }

// Target is the target that the incident is about; empty when it is about none.
func (i *Incident) Target() string {
	if i.Kind == IncidentSimilar {
		return ""
	}
	if i.Kind != IncidentDown && strings.HasPrefix(i.Cause, CauseNoTarget) {
		for _, a := range i.Alerts {
			if a.Target == i.Cause {
				return i.Cause
			}
		}
		return ""
	}
	return i.Cause
}

// About says in labels what the incident is about, for programs: the target; of similar alerts their class; of what has nothing
// in common but where it is, the target behind which that is; of alerts that name no target, what they are called. The team
// and the title are beside it.
func (i *Incident) About() map[string]string {
	about := func(name, value string) map[string]string { return map[string]string{name: value} }
	if target := i.Target(); target != "" {
		return about("target", target)
	}
	if _, class, ok := i.Similar(); ok {
		return about("class", class)
	}
	if _, target, ok := i.Behind(); ok {
		return about("behind", target)
	}
	if name, ok := strings.CutPrefix(i.Cause, CauseNoTarget); ok {
		if len(i.Alerts) > 0 { // Before its name may stand a team.
			name = i.Alerts[0].Name
		}
		return about("alertname", name)
	}
	return map[string]string{}
}

func (i *Incident) gathered(as string) (team, rest string, ok bool) {
	if i.Kind != IncidentSimilar {
		return "", "", false
	}
	if rest, ok = strings.CutPrefix(i.Cause, as); !ok {
		return "", "", false
	}
	if team, rest, ok = strings.Cut(rest, "/"); !ok {
		return "", "", false
	}
	return strings.NewReplacer("%2F", "/", "%25", "%").Replace(team), rest, true
}

// apart writes a team so that it ends at the next slash.
func apart(team string) string { return strings.NewReplacer("%", "%25", "/", "%2F").Replace(team) }
