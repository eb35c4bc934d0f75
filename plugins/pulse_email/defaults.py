"""The bodies of a mail for whoever wrote no templates of their own. Mail programs know inline styles only."""

HTML = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{ alert_type }}</title></head>
<body style="margin:0;padding:0;background:#f1f3f6;">
<div style="display:none;max-height:0;overflow:hidden;">{{ message }}</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f1f3f6;">
<tr><td align="center" style="padding:24px 12px;">
<table role="presentation" width="600" cellpadding="0" cellspacing="0" style="width:100%;max-width:600px;\
background:#ffffff;border-radius:8px;border:1px solid #dfe3e8;\
font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#1c2430;">
<tr><td style="padding:0;height:6px;line-height:6px;border-radius:8px 8px 0 0;font-size:0;background:\
{% if event == "CLOSED" %}#2e8540{% elif severity == "CRITICAL" %}#b3123a{% elif severity == "MAJOR" %}#c8500a\
{% elif severity == "WARNING" %}#b98500{% else %}#2563a8{% endif %};">&nbsp;</td></tr>
<tr><td style="padding:24px 28px 8px;">
<div style="font-size:12px;font-weight:600;letter-spacing:.06em;text-transform:uppercase;color:#5b6675;">
{% if event == "CLOSED" %}Closed{% elif event == "ACKNOWLEDGED" %}Acknowledged{% else %}{{ severity }}{% endif %}
&middot; {{ alert_type }}</div>
<h1 style="margin:8px 0 0;font-size:22px;line-height:1.3;word-break:break-word;">{{ device_id }}</h1>
<p style="margin:12px 0 0;font-size:16px;line-height:1.5;word-break:break-word;">{{ message }}</p>
</td></tr>
<tr><td style="padding:16px 28px 24px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="font-size:14px;line-height:1.5;">
<tr><td style="padding:6px 12px 6px 0;color:#5b6675;width:120px;border-top:1px solid #edf0f3;">Severity</td>
<td style="padding:6px 0;border-top:1px solid #edf0f3;">{{ severity }}</td></tr>
<tr><td style="padding:6px 12px 6px 0;color:#5b6675;border-top:1px solid #edf0f3;">Site</td>
<td style="padding:6px 0;border-top:1px solid #edf0f3;word-break:break-word;">{{ site_id }}</td></tr>
<tr><td style="padding:6px 12px 6px 0;color:#5b6675;border-top:1px solid #edf0f3;">\
{% if event == "CLOSED" %}Closed{% else %}Opened{% endif %}</td>
<td style="padding:6px 0;border-top:1px solid #edf0f3;">{{ timestamp }}</td></tr>
{% for name, value in details|items %}
<tr><td style="padding:6px 12px 6px 0;color:#5b6675;border-top:1px solid #edf0f3;word-break:break-word;">{{ name }}</td>
<td style="padding:6px 0;border-top:1px solid #edf0f3;word-break:break-word;">{{ value }}</td></tr>
{% endfor %}
</table>
</td></tr>
<tr><td style="padding:14px 28px;background:#f8f9fb;border-radius:0 0 8px 8px;font-size:12px;line-height:1.5;\
color:#5b6675;word-break:break-word;">Alert {{ alert_id }} of {{ tenant_id }}</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""

TEXT = """\
{% if event == "CLOSED" %}CLOSED{% elif event == "ACKNOWLEDGED" %}ACKNOWLEDGED{% else %}{{ severity }}{% endif %} \
- {{ alert_type }}: {{ device_id }}

{{ message }}

Severity: {{ severity }}
Device:   {{ device_id }}
Site:     {{ site_id }}
{% if event == "CLOSED" %}Closed:  {% else %}Opened:  {% endif %} {{ timestamp }}
{% for name, value in details|items %}
{{ name }}: {{ value }}
{% endfor %}

Alert {{ alert_id }} of {{ tenant_id }}
"""
