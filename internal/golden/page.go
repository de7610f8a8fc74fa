// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Page is a golden case that can be read without knowing Go. The zero value is
// a page without text.
type Page struct {
	// Comment says what the case is about; empty, or ending in a newline.
	Comment string
	// Sections are the named parts in the order of the file, no name twice.
	Sections []Section
}

// Section is a named part of a page.
type Section struct {
	Name string
	// Content is empty or ends in a newline. A line of the form "-- x --"
	// would begin another section.
	Content string
}

// Read reads the page at path.
func Read(path string) (Page, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Page{}, fmt.Errorf("read golden page: %w", err)
	}
	page, err := parse(string(text))
	if err != nil {
		return Page{}, fmt.Errorf("read golden page %s: %w", path, err)
	}
	return page, nil
}

// Content is what the section called name says, and whether the page has it.
func (p Page) Content(name string) (content string, found bool) {
	for _, section := range p.Sections {
		if section.Name == name {
			return section.Content, true
		}
	}
	return "", false
}

// Set gives the section called name other content, adding it at the end of the
// page if it is not there. A missing last newline is added.
func (p *Page) Set(name, content string) {
	content = ended(content)
	for i := range p.Sections {
		if p.Sections[i].Name == name {
			p.Sections[i].Content = content
			return
		}
	}
	p.Sections = append(p.Sections, Section{Name: name, Content: content})
}

// Text is the page as it is in a file.
func (p Page) Text() []byte {
	var text bytes.Buffer
	text.WriteString(ended(p.Comment))
	for _, section := range p.Sections {
		fmt.Fprintf(&text, "-- %s --\n%s", section.Name, ended(section.Content))
	}
	return text.Bytes()
}

// parse reads a page without the file's name in its errors.
func parse(text string) (Page, error) {
	var page Page
	part := &page.Comment
	for line := range strings.Lines(text) {
		name, begins := marker(line)
		if !begins {
			*part += ended(line)
			continue
		}
		if _, twice := page.Content(name); twice {
			return Page{}, fmt.Errorf("section %q is there twice", name)
		}
		page.Sections = append(page.Sections, Section{Name: name})
		part = &page.Sections[len(page.Sections)-1].Content
	}
	if len(page.Sections) == 0 {
		return Page{}, fmt.Errorf("there is no line of the form %q", "-- section --")
	}
	return page, nil
}

// marker is the name in a line "-- name --".
func marker(line string) (name string, found bool) {
	line = strings.TrimRight(line, "\r\n")
	name, opens := strings.CutPrefix(line, "-- ")
	name, closes := strings.CutSuffix(name, " --")
	name = strings.TrimSpace(name)
	return name, opens && closes && name != ""
}

// ended is text with a newline at its end, unless it is empty.
func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}
