# Ruby's Net::HTTP, over one connection.
require 'net/http'
require 'stringio'

$stdout.sync = true
http = nil
$stdin.each_line do |line|
  method, url, fields, body, name = line.split.map { |it| it == '-' ? nil : it.unpack1('m') }
  uri = URI(url)
  options = { use_ssl: true, ca_file: ENV['CLIENTS_CA'], max_retries: 0, keep_alive_timeout: 60 }
  http ||= Net::HTTP.start(uri.host, uri.port, nil, options)
  fields = fields.split("\n").to_h { |field| field.split(': ', 2) }
  request = Net::HTTPGenericRequest.new(method, !body.nil?, true, uri.request_uri, fields)
  if name
    part = ['file', StringIO.new(body), { filename: name.force_encoding('UTF-8') }]
    request.set_form([part], 'multipart/form-data')
  else
    request.body = body
  end
  answer = http.request(request)
  heads = answer.each_header.map { |field, value| "#{field}: #{value}" }.join("\n")
  texts = [heads, answer.body.to_s].map { |text| text.empty? ? '-' : [text].pack('m0') }
  puts "#{answer.code} #{texts.join(' ')}"
end
