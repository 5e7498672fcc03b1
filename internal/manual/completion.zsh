#compdef {{.Name}}
# zsh completion for {{.Name}}, made by "{{.Name}} completion zsh"

_{{.Name}}() {
	local curcontext=$curcontext state line
	local -A opt_args
	local -a commands=(
{{- range .Commands}}
		'{{.Name}}:{{zsh .Usage}}'
{{- end}}
	)
	_arguments -C -S \
{{- range .Options}}
		{{spec .}} \
{{- end}}
		'1:command:->command' \
		'*:: :->argument'
	case $state in
	command)
		_describe command commands ;;
	argument)
		case $words[1] in
{{- range .Commands}}
		{{.Name}})
			_arguments -S '(-h --help)'{-h,--help}'[show help]' \
{{- range .Options}}
				{{spec .}} \
{{- end}}
				{{if .Words}}'1:{{zsh .Args}}:({{join .Words " "}})'{{else if .Program}}'(-)1:command: _command_names -e' '*::argument: _normal'{{else if .File}}'*:{{zsh .Args}}:_files'{{else if .Args}}'*:{{zsh .Args}}: '{{else}}'*: :'{{end}} ;;
{{- end}}
		esac ;;
	esac
}

if [[ $funcstack[1] == _{{.Name}} ]]; then
	_{{.Name}} "$@" # called by compinit's autoload: this file is the function
else
	compdef _{{.Name}} {{.Name}}
fi
