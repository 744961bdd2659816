// render CHART RELEASE VALUES: what `helm template` prints of the chart, by Go's own templates and those of Helm's
// functions that the chart uses.  A value that is not there is an error.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(path string) map[string]interface{} {
	found := map[string]interface{}{}
	text, err := os.ReadFile(path)
	check(err)
	check(yaml.Unmarshal(text, &found))
	return found
}

func toYaml(value interface{}) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func indent(spaces int, text string) string {
	pad := strings.Repeat(" ", spaces)
	return "\n" + pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

func fromJsonArray(text string) (list []interface{}, err error) {
	err = json.Unmarshal([]byte(text), &list)
	return
}

func orDefault(fallback, value interface{}) interface{} {
	if value == nil || value == "" {
		return fallback
	}
	return value
}

func trunc(size int, text string) string {
	if len(text) > size {
		return text[:size]
	}
	return text
}

func functions(all *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data interface{}) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": toYaml, "nindent": indent, "fromJsonArray": fromJsonArray, "default": orDefault, "trunc": trunc,
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"trimSuffix": func(end, text string) string { return strings.TrimSuffix(text, end) },
		"quote":      func(value interface{}) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"add":        func(a, b int) int { return a + b },
		"sha256sum":  func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) },
	}
}

func main() {
	chart := load(filepath.Join(os.Args[1], "Chart.yaml"))
	data := map[string]interface{}{
		"Values":  load(os.Args[3]),
		"Chart":   map[string]interface{}{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
		"Release": map[string]interface{}{"Name": os.Args[2], "Namespace": "somewhere", "Service": "Helm"},
	}
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(functions(all))
	files, err := filepath.Glob(filepath.Join(os.Args[1], "templates", "*"))
	check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		_, err = all.New(filepath.Base(file)).Parse(string(text))
		check(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".yaml") {
			fmt.Println("---")
			check(all.ExecuteTemplate(os.Stdout, filepath.Base(file), data))
		}
	}
}
