# bash completion for {{.Name}}, made by "{{.Name}} completion bash"

{{function .Name}}() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag='' command='' words='' word
	# bash has made three words of --flag=value, and as many of HOST:PORT
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [[ $word == = ]]; then
			continue
		elif [[ $flag ]]; then
			flag=''
			continue
		fi
		case $word in
		{{join (names .All "value") " | "}})
			flag=$word ;;
		{{- range .Commands}}
		{{.Name}})
			command=${command:-$word} ;;
		{{- end}}
		esac
	done
	[[ $cur == = ]] && cur=''

	case $flag,$command in
	{{- with names .All "file"}}
	{{range $i, $name := .}}{{if $i}} | {{end}}{{$name}},*{{end}})
		return ;; # and readline completes files
	{{- end}}
	{{- range .All}}{{if .Words}}
	{{.Names | first}},*)
		words='{{join .Words " "}}' ;;
	{{- end}}{{end}}
	-*) ;;
	{{- range .Commands}}
	,{{.Name}})
		words='{{join .Words " "}}'
		[[ $cur == -* ]] && words='--help{{range names .Options "all"}} {{.}}{{end}}'
{{- if .File}}
		[[ $cur == -* ]] || return
{{- else if .Program}}
		if [[ $cur != -* ]]; then
			# shellcheck disable=SC2207
			COMPREPLY=($(compgen -c -f -- "$cur"))
			return
		fi
{{- end}} ;;
	{{- end}}
	*)
		words='{{range $i, $c := .Commands}}{{if $i}} {{end}}{{$c.Name}}{{end}}'
		[[ $cur == -* ]] && words='{{join (names .Options "all") " "}}' ;;
	esac
	type compopt >/dev/null 2>&1 && compopt +o default 2>/dev/null
	# shellcheck disable=SC2207
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -o default -F {{function .Name}} {{.Name}}
