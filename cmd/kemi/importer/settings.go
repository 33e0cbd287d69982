package importer

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/notify/alertmanager"
	"kemi.dev/kemi/internal/conf"
)

// entry is a setting and where it stands.
type entry struct {
	key  string
	node conf.Node
	path string
	// stem and name make the name of a file for a secret: STEM-NAME.
	stem, name string
}

func entriesOf(n conf.Node, path, stem string) []entry {
	var all []entry
	for _, key := range n.Keys() {
		all = append(all, entry{key.Text(), n.Get(key.Text()), path + "." + key.Text(), stem, key.Text()})
	}
	return all
}

// settings converts settings by the type that Alertmanager reads them with, which is what says which are secret. At the
// top of a receiver each key x may be given as x_file; below only where Alertmanager has such a key.
func (c *converter) settings(entries []entry, t reflect.Type, top bool) mapping {
	keys, rest := alertmanager.FieldsOf(t)
	var out mapping
	for _, e := range entries {
		typ := keys[e.key]
		if typ == nil {
			typ = rest
		}
		for typ != nil && typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ == nil || e.node.Kind() == conf.Null {
			continue
		}
		_, hasFile := keys[e.key+"_file"]
		switch text := e.node.Text(); {
		case isSecret(typ) && text != "", isAddress(typ) && hasPassword(text):
			out.add(c.secret(e, text, top || hasFile))
		case typ == reflect.TypeFor[[]commoncfg.Secret]() && !c.options.Secrets:
			// The secret values of a header; files may hold them.
			files, _ := out.get("files").([]any)
			for i, item := range e.node.Items() {
				one := e
				one.path, one.name = fmt.Sprintf("%s[%d]", e.path, i), "header"
				files = append(files, c.secretFile(one, item.Text()))
			}
			out = out.without("files")
			out.add("files", files)
		case strings.HasSuffix(e.key, "_file") && text != "":
			if top && !strings.HasPrefix(text, "/") && !c.moved {
				c.moved = true
				c.note(e.node, e.path, "relative paths begin at the folder of kemi.yaml; Alertmanager begins where it was started", "check the paths of files")
			}
			out.add(e.key, c.relocate(text))
		case e.key == "files":
			files, _ := out.get("files").([]any)
			for _, item := range e.node.Items() {
				files = append(files, c.relocate(item.Text()))
			}
			out = out.without("files")
			out.add("files", files)
		default:
			out.add(e.key, c.value(e, typ))
		}
	}
	return out
}

func (c *converter) value(e entry, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := e.node
	switch {
	case n.Kind() == conf.Null:
		return nil
	case t.Kind() == reflect.Bool:
		return truth(n.Text())
	case t.Kind() == reflect.Interface:
		return generic(n)
	case t.Kind() == reflect.Struct && n.Kind() == conf.Map:
		return c.settings(entriesOf(n, e.path, e.stem), t, false)
	case t.Kind() == reflect.Slice && n.Kind() == conf.List:
		all := []any{}
		for i, item := range n.Items() {
			one := entry{e.key, item, fmt.Sprintf("%s[%d]", e.path, i), e.stem, e.name}
			if v := c.value(one, t.Elem()); v != nil {
				all = append(all, v)
			}
		}
		return all
	case t.Kind() == reflect.Map && n.Kind() == conf.Map:
		all := mapping{}
		for _, one := range entriesOf(n, e.path, e.stem) {
			all.add(one.key, c.value(one, t.Elem()))
		}
		return all
	case n.Kind() != conf.Scalar:
		return generic(n)
	case t == reflect.TypeFor[model.Duration]():
		return lasting(n.Text())
	case t.Kind() == reflect.String, t.Kind() == reflect.Struct, t == reflect.TypeFor[commoncfg.TLSVersion]():
		return n.Text()
	default:
		return generic(n)
	}
}

// lasting writes a duration of Alertmanager's so that Kemi reads it: it has no years.
func lasting(text string) any {
	if _, err := conf.ParseDuration(text); err == nil {
		return text
	}
	if d, err := model.ParseDuration(text); err == nil {
		return fmt.Sprintf("%dh", int64(time.Duration(d)/time.Hour))
	}
	return text
}

// generic brings a value over as it stands.
func generic(n conf.Node) any {
	switch n.Kind() {
	case conf.Map:
		out := mapping{}
		for _, key := range n.Keys() {
			out.add(key.Text(), generic(n.Get(key.Text())))
		}
		return out
	case conf.List:
		out := []any{}
		for _, item := range n.Items() {
			if v := generic(item); v != nil {
				out = append(out, v)
			}
		}
		return out
	case conf.Scalar:
		var v any
		if len(n.Into(&v)) == 0 {
			if _, text := v.(string); !text {
				return raw(n.Text())
			}
		}
		return n.Text()
	default:
		return nil
	}
}

// truth reads a truth value as YAML 1.1 does, which is what Alertmanager reads.
func truth(text string) bool {
	switch strings.ToLower(text) {
	case "y", "yes", "on", "true":
		return true
	}
	return false
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[commoncfg.Secret]() || t == reflect.TypeFor[amcommon.SecretURL]() || t == reflect.TypeFor[config.SecretTemplateURL]()
}

func isAddress(t reflect.Type) bool {
	return t == reflect.TypeFor[amcommon.URL]() || t == reflect.TypeFor[commoncfg.URL]() || t.Kind() == reflect.String
}

// hasPassword reports whether an address holds one.
func hasPassword(text string) bool {
	if !strings.Contains(text, "://") {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		return strings.Contains(text, "@") && !strings.ContainsAny(text, " \n") // Better one file too many.
	}
	_, has := u.User.Password()
	return has
}

// secret says how a secret is given: in clear, by a file, or, where there is no key for a file, by a variable.
func (c *converter) secret(e entry, text string, file bool) (key string, value any) {
	switch {
	case c.options.Secrets && text != amcommon.SecretToken:
		return e.key, text
	case file:
		return e.key + "_file", c.secretFile(e, text)
	default:
		name := unclaimed(c.variables, "KEMI_"+strings.ToUpper(regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(e.stem+"_"+e.name, "_")), "_", text)
		c.variables[name] = text
		c.note(e.node, e.path, "the secret is not written down, and cannot be given by a file", "set the environment variable "+name)
		return e.key, variable(name)
	}
}

// unclaimed is a name that stands for no other text yet.
func unclaimed(names map[string]string, name, separator, text string) string {
	for n, try := 2, name; ; n++ {
		if before, there := names[try]; !there || before == text {
			return try
		}
		try = fmt.Sprintf("%s%s%d", name, separator, n)
	}
}

// secretFile keeps a secret to be written to a file of its own and returns the file's path.
func (c *converter) secretFile(e entry, text string) string {
	clean := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9_.-]+`).ReplaceAllString(e.stem+"-"+e.name, "-"), "-.")
	path := unclaimed(c.files, "secrets/"+clean, "-", text)
	if _, there := c.files[path]; there {
		return path
	}
	c.files[path] = text
	s := SecretFile{Path: path, From: e.path}
	if text == amcommon.SecretToken {
		c.note(e.node, e.path, "the file says "+amcommon.SecretToken+" where the secret was", "write the secret into "+path)
	} else {
		s.Text = conf.NewSecret(text)
	}
	c.secrets = append(c.secrets, s)
	return path
}
